// internal: parameters, buffers and children that a module has cannot be overwritten by something else, as in PyTorch.
// A property is guarded once it has been seen holding one, by turning it into an accessor that checks what is assigned.
import { describe } from "../check.js";
import { Tensor } from "../tensor.js";
import type { AnyModule } from "./module.js";
import { isModule, moduleState } from "./module-state.js";
import { Parameter } from "./parameter.js";

/** internal: what a guarded property holds. */
export interface Slot {
  kind: "parameter" | "buffer" | "module";
  value: unknown;
}

/**
 * internal: guards the property `name`, which holds `value`. Does nothing when it is guarded already; a property that was
 * deleted or defined anew since is free again.
 */
export function guardMember(module: AnyModule, kind: Slot["kind"], name: string, value: unknown): void {
  const { slots } = module[moduleState];
  const known = slots.get(name);
  if (known !== undefined && known.value === value) {
    known.kind = kind;
    return;
  }
  const slot: Slot = { kind, value };
  slots.set(name, slot);
  Object.defineProperty(module, name, {
    get: () => slot.value,
    set(assigned: unknown) {
      checkAssigned(module, name, slot.kind, assigned);
      slot.value = assigned;
    },
    enumerable: true,
    configurable: true,
  });
}

function checkAssigned(module: AnyModule, name: string, kind: Slot["kind"], value: unknown): void {
  if (value === null || value === undefined || value instanceof Parameter) return;
  if (kind !== "parameter" && isModule(value)) return;
  if (kind === "buffer" && value instanceof Tensor) return;
  const className = module.constructor.name;
  const examples = { parameter: "new nn.Parameter(tensor)", buffer: "tensor", module: "new nn.Linear(10, 2)" };
  throw new TypeError(
    `Cannot assign ${describe(value)} to ${className}.${name}: it is a ${kind}, and \`parameters()\`, \`stateDict()\` and \`to()\` would lose it.\n` +
      `Type \`model.${name} = ${examples[kind]}\`, or null to have none; for a plain property type \`delete model.${name}\` first.`,
  );
}
