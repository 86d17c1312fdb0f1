// How operators are called: a packet (all overloads of a name) is resolved once, then called with handles in the place of
// tensors. Choosing the overload and converting arguments happens in the addon. No operator has code of its own here.
import { typeError } from "./check.js";
import { native } from "./native.js";
import { handleOf, isHandle, Tensor, wrapHandle } from "./tensor.js";

/** A number of any kind that ATen takes as a `Scalar`. */
export type Scalar = number | bigint | boolean;

/** internal: an operator packet, callable with positional arguments and a trailing object of named ones. */
export type Operator = (...args: unknown[]) => unknown;

// Packets by "namespace::name"; their ids come from the addon at the first call.
const packets = new Map<string, Operator>();

/** internal: replaces tensors (also in arrays) by their handles. */
function lower(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Tensor) return handleOf(value);
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item === "object" && item !== null) return value.map(lower);
    return value;
  }
  const handle = (value as { [generatorHandle]?: unknown })[generatorHandle];
  return handle ?? value;
}

/** internal: objects that stand for a native generator carry its handle under this key. */
export const generatorHandle: unique symbol = Symbol("generatorHandle");

function isNamed(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || value instanceof Tensor || Array.isArray(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** internal: wraps what the addon returned; a result that is one of the arguments stays the same object. */
function lift(result: unknown, args: readonly unknown[], lowered: readonly unknown[]): unknown {
  if (typeof result !== "object" || result === null) return result;
  if (Array.isArray(result)) return result.map((item) => lift(item, args, lowered));
  if (!isHandle(result)) return result;
  for (let i = 0; i < lowered.length; i++) {
    const low = lowered[i];
    if (low === result) return args[i];
    if (Array.isArray(low)) {
      const at = low.indexOf(result);
      if (at >= 0) return (args[i] as unknown[])[at];
    }
  }
  return wrapHandle(result);
}

function callNamed(packet: number, args: unknown[]): unknown {
  const options = args[args.length - 1] as Record<string, unknown>;
  const positional = args.slice(0, -1);
  const names: string[] = [];
  const values: unknown[] = [];
  let requiresGrad: boolean | undefined;
  for (const name in options) {
    const value = options[name];
    if (value === undefined) continue;
    if (name === "requiresGrad") requiresGrad = value as boolean;
    else {
      names.push(name);
      values.push(value);
    }
  }
  const lowered = positional.map(lower);
  const loweredValues = values.map(lower);
  const result = lift(
    native().callNamed(packet, lowered, names, loweredValues),
    [...positional, ...values],
    [...lowered, ...loweredValues],
  );
  if (requiresGrad !== undefined) {
    if (!(result instanceof Tensor)) throw typeError("requiresGrad", "left out for an operator that makes no tensor", requiresGrad);
    result.requiresGrad = requiresGrad;
  }
  return result;
}

/** internal: an operator by name, such as `operator("aten", "add")` or `operator("aten", "add.Tensor")`. Resolved at its first call. */
export function operator(namespace: string, name: string): Operator {
  const key = `${namespace}::${name}`;
  const known = packets.get(key);
  if (known) return known;
  let packet = -1;
  const made: Operator = (...args) => {
    if (packet < 0) packet = native().resolve(namespace, name);
    const n = args.length;
    if (n > 0 && isNamed(args[n - 1])) return callNamed(packet, args);
    if (n === 1) {
      const a = args[0];
      const la = lower(a);
      const result = native().call(packet, la);
      if (isHandle(result)) return result === la ? a : wrapHandle(result);
      return lift(result, args, [la]);
    }
    if (n === 2) {
      const la = lower(args[0]);
      const lb = lower(args[1]);
      const result = native().call(packet, la, lb);
      if (isHandle(result)) {
        if (result === la) return args[0];
        if (result === lb) return args[1];
        return wrapHandle(result);
      }
      return lift(result, args, [la, lb]);
    }
    const lowered = args.map(lower);
    return lift(native().call(packet, ...lowered), args, lowered);
  };
  packets.set(key, made);
  return made;
}

/** internal: the same operator as a method body, with `this` as its first argument. */
export function method(name: string): (this: Tensor, ...args: unknown[]) => unknown {
  const op = operator("aten", name);
  return function (this: Tensor, ...args: unknown[]) {
    return op(this, ...args);
  };
}
