// internal: moving and converting what a module holds, in place, so that optimizers keep their parameters.

import { noGrad } from "../autograd/grad-mode.js";
import { typeError } from "../check.js";
import { type Device, type Dtype, isFloatingDtype } from "../dtype.js";
import { ConfigurationError } from "../errors.js";
import { checkDevice, checkDtype, isDevice, isDtype, noDtypeOrDevice } from "../target.js";
import { Tensor } from "../tensor.js";
import { checkOptions } from "./arguments.js";
import { aten } from "./aten.js";
import { childrenOf, membersOf, setMember } from "./members.js";
import type { AnyModule } from "./module.js";
import { moduleState } from "./module-state.js";
import { Parameter } from "./parameter.js";

/** Where and into what `Module.to` moves; what is left out stays. */
export interface ModuleTarget {
  /** The device to move to. */
  device?: Device | undefined;
  /** The element type for floating-point members; integers keep theirs, and complex numbers unless it is complex, too. */
  dtype?: Dtype | undefined;
  /** Lets copies from pinned memory to a GPU run in the background. */
  nonBlocking?: boolean | undefined;
  /** Memory layout for parameters and buffers with four or five dimensions. */
  memoryFormat?: "contiguous_format" | "channels_last" | "channels_last_3d" | "preserve_format" | undefined;
}

const example = 'to({ device: "cuda", dtype: "bfloat16" })';

/** internal: reads the arguments of `Module.to`. */
export function moduleTarget(target: unknown, more: unknown): ModuleTarget {
  let result: ModuleTarget;
  if (target instanceof Tensor) result = { device: target.device, dtype: target.dtype };
  else if (typeof target === "string") {
    if (isDtype(target)) result = { dtype: target };
    else if (isDevice(target)) result = { device: target };
    else throw noDtypeOrDevice("target", target);
  } else if (typeof target === "object" && target !== null) {
    checkOptions(target, ["device", "dtype", "nonBlocking", "memoryFormat"], example);
    result = target as ModuleTarget;
  } else
    throw typeError("target", "a device, a dtype, a Tensor or an object of options", target, `Type \`${example}\`.`);
  if (typeof more === "string") result = { ...result, dtype: more as Dtype };
  else if (typeof more === "object" && more !== null) {
    checkOptions(more, ["device", "dtype", "nonBlocking", "memoryFormat"], example);
    result = { ...result, ...(more as ModuleTarget) };
  }
  const { dtype, device } = result;
  // Before anything is converted, so that a module is not left half done.
  if (dtype !== undefined) checkDtype(dtype);
  if (device !== undefined) checkDevice(device);
  if (dtype !== undefined && !isFloatingDtype(dtype) && !dtype.startsWith("complex")) {
    throw new ConfigurationError(
      `A module cannot be converted to "${dtype}": only floating-point and complex dtypes work.`,
      {
        hint: 'Convert single tensors with `tensor.to("int64")`.',
      },
    );
  }
  return result;
}

/** internal: moves and converts all members of a module and of those below it. */
export function convertModule(module: AnyModule, target: ModuleTarget): void {
  applyToTensors(module, (tensor) => {
    const options: Record<string, unknown> = {};
    if (target.device !== undefined) options.device = target.device;
    if (target.dtype !== undefined && takesDtype(tensor, target.dtype)) options.dtype = target.dtype;
    const moved =
      Object.keys(options).length === 0 ? tensor : move(tensor, { ...options, nonBlocking: target.nonBlocking });
    const { memoryFormat } = target;
    if (memoryFormat === undefined || (moved.ndim !== 4 && moved.ndim !== 5)) return moved;
    if (memoryFormat === "preserve_format") return moved;
    return contiguous(moved, { memoryFormat });
  });
}

// Complex numbers would lose their imaginary parts in a real dtype: they stay.
function takesDtype(tensor: Tensor, dtype: Dtype): boolean {
  return tensor.isFloatingPoint() || (tensor.isComplex() && !isFloatingDtype(dtype));
}

/** internal: replaces all members by uninitialized ones on a device; only the module's own with `recurse = false`. */
export function moveToEmpty(module: AnyModule, device: Device, recurse: boolean): void {
  checkDevice(device);
  applyToTensors(module, (tensor) => emptyLike(tensor, { device }), recurse);
}

const emptyLike = aten("empty_like");
const contiguous = aten("contiguous");

function move(tensor: Tensor, options: object): Tensor {
  return (tensor as unknown as { to(options: object): Tensor }).to(options);
}

/** internal: puts `fn` of each parameter, gradient and buffer in its place. Shared ones are done once. */
export function applyToTensors(module: AnyModule, fn: (tensor: Tensor) => Tensor, recurse = true): void {
  const done = new Map<Tensor, Tensor>();
  const once = (tensor: Tensor, change: () => Tensor): Tensor => {
    const known = done.get(tensor);
    if (known) return known;
    const changed = change();
    done.set(tensor, changed);
    done.set(changed, changed);
    return changed;
  };
  const seen = new Set<AnyModule>();
  const visit = (current: AnyModule): void => {
    if (seen.has(current)) return;
    seen.add(current);
    if (recurse) for (const [, child] of childrenOf(current)) visit(child);
    const { parameters } = membersOf(current);
    for (const [name, parameter] of parameters) {
      const changed = once(parameter, () => changeParameter(parameter, fn));
      if (changed !== parameter) setMember(current, name, changed);
    }
    const properties = current as unknown as Record<string, unknown>;
    for (const name of current[moduleState].buffers.keys()) {
      const buffer = properties[name];
      if (!(buffer instanceof Tensor)) continue;
      const changed = once(buffer, () => noGrad(() => fn(buffer)));
      if (changed !== buffer) properties[name] = changed;
    }
  };
  visit(module);
}

/** Swaps a parameter's data, and its gradient's; returns a new parameter only where the engine cannot swap (the meta device). */
function changeParameter(parameter: Parameter, fn: (tensor: Tensor) => Tensor): Parameter {
  const changed = noGrad(() => fn(parameter));
  if (changed === parameter) return parameter;
  const { grad } = parameter;
  const changedGrad = grad === null ? null : noGrad(() => fn(grad));
  if ((parameter.device === "meta") !== (changed.device === "meta")) {
    const made = new Parameter(changed, parameter.requiresGrad);
    made.grad = changedGrad;
    return made;
  }
  // The gradient has to have the parameter's dtype and device whenever it is set.
  if (grad !== null) parameter.grad = null;
  parameter.data = changed;
  if (grad !== null && changedGrad !== null) {
    if (changedGrad !== grad) grad.data = changedGrad;
    parameter.grad = grad;
  }
  return parameter;
}
