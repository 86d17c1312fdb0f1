// From the meta device, where modules have shapes and no memory, to one where they have values.
import { type Device, nn, optim } from "@fabric-ts/torch";
import { className, describe } from "./describe.js";

/** Gives a module's own parameters and buffers memory on a device and initializes them; what is in its children stays as it is. */
export function materialize(module: nn.AnyModule, device: Device): void {
  const resetParameters = resetMethodOf(module);
  module.toEmpty({ device, recurse: false });
  resetParameters();
}

/**
 * Gives every module below and including `module` that has parameters or buffers of its own on the meta device memory on `device`, and
 * initializes it. When one of them cannot be initialized, nothing is changed. What modules share stays shared.
 */
export function materializeMetaTensors(module: nn.AnyModule, device: Device): void {
  const modules = [...module.modules()].filter((part) => hasMetaDeviceParametersOrBuffers(part, false));
  for (const part of modules) resetMethodOf(part);
  const shared = sharedParameters(modules);
  for (const part of modules) materialize(part, device);
  for (const [first, ...others] of shared) {
    for (const { owner, name } of others) owner[name] = first.owner[first.name];
  }
}

/** True when a module, or what it contains unless `recurse` is false, has parameters or buffers on the meta device, or an optimizer has such parameters. */
export function hasMetaDeviceParametersOrBuffers(obj: nn.AnyModule | optim.Optimizer, recurse = true): boolean {
  const isMeta = ({ device }: { device: string }): boolean => device === "meta";
  if (obj instanceof optim.Optimizer) return obj.paramGroups.some(({ params }) => params.some(isMeta));
  if (obj instanceof nn.Module) return obj.parameters(recurse).some(isMeta) || obj.buffers(recurse).some(isMeta);
  throw new TypeError(`Expected \`nn.Module\` or \`optim.Optimizer\`, got: ${describe(obj)}.`);
}

function resetMethodOf(module: nn.AnyModule): () => void {
  const { resetParameters } = module as { resetParameters?: unknown };
  if (typeof resetParameters === "function") return () => resetParameters.call(module);
  throw new TypeError(
    `Materialization requires that the \`${className(module)}.resetParameters\` method is implemented.\nIt initializes the parameters and buffers that belong to the module itself.`,
  );
}

interface Place {
  owner: Record<string, unknown>;
  name: string;
}

/** The parameters that are in several of the modules, and where. */
function sharedParameters(modules: nn.AnyModule[]): [Place, ...Place[]][] {
  const found = new Map<nn.Parameter, [Place, ...Place[]]>();
  for (const module of modules) {
    for (const [name, parameter] of module.namedParameters("", false)) {
      const place = { owner: module as unknown as Record<string, unknown>, name };
      const places = found.get(parameter);
      if (places) places.push(place);
      else found.set(parameter, [place]);
    }
  }
  return [...found.values()].filter((places) => places.length > 1);
}
