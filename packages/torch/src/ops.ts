// How operators are called: a packet (all overloads of a name) is resolved once, then called with handles in the place of
// tensors. Choosing the overload and converting arguments happens in the addon. No operator has code of its own here.
import { typeError } from "./check.js";
import { type NativeBinding, native } from "./native.js";
import { checkDevice, checkOperatorDtype } from "./target.js";
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

// The names of a call's named arguments, interned: the addon looks up their places once a packet and not once a call.
const signatures = new Map<string, number>();

function signatureOf(names: readonly string[]): number {
  const key = names.length === 1 ? (names[0] as string) : names.join(",");
  let id = signatures.get(key);
  if (id === undefined) {
    id = native().internNames(names);
    signatures.set(key, id);
  }
  return id;
}

function callNamed(packet: number, args: readonly unknown[]): unknown {
  const last = args.length - 1;
  const options = args[last] as Record<string, unknown>;
  const names: string[] = [];
  const values: unknown[] = [];
  const lowered: unknown[] = [];
  for (let i = 0; i < last; i++) {
    values.push(args[i]);
    lowered.push(lower(args[i]));
  }
  let requiresGrad: boolean | undefined;
  for (const name in options) {
    const value = options[name];
    if (value === undefined) continue;
    if (name === "requiresGrad") requiresGrad = value as boolean;
    else {
      if (name === "dtype" && value !== null) checkOperatorDtype(value);
      else if (name === "device" && value !== null) checkDevice(value);
      names.push(name);
      values.push(value);
      lowered.push(lower(value));
    }
  }
  const returned =
    names.length === 0 ? call(packet, ...lowered) : native().callNamed(packet, signatureOf(names), ...lowered);
  const result = lift(returned, values, lowered);
  if (requiresGrad !== undefined) {
    if (!(result instanceof Tensor)) {
      throw typeError("requiresGrad", "left out for an operator that makes no tensor", requiresGrad);
    }
    result.requiresGrad = requiresGrad;
  }
  return result;
}

// The addon's `call`, kept beside the table of exports: looking it up there costs more than the crossing itself.
let call: NativeBinding["call"] = (...args) => {
  call = native().call;
  return call(...args);
};

/** internal: an operator by name, such as `operator("aten", "add")` or `operator("aten", "add.Tensor")`. Resolved at its first call. */
export function operator(namespace: string, name: string): Operator {
  const key = `${namespace}::${name}`;
  const known = packets.get(key);
  if (known) return known;
  let packet = -1;
  // Written out for one and two arguments, most of all calls: no arrays are made there.
  function made(a?: unknown, b?: unknown): unknown {
    if (packet < 0) packet = native().resolve(namespace, name);
    // biome-ignore lint/complexity/noArguments: a rest parameter would make an array of every call
    const count = arguments.length;
    if (count === 1 && !isNamed(a)) {
      const la = lower(a);
      const result = call(packet, la);
      if (isHandle(result)) return result === la ? a : wrapHandle(result);
      return typeof result === "object" ? lift(result, [a], [la]) : result;
    }
    if (count === 2 && !isNamed(b)) {
      const la = lower(a);
      const lb = lower(b);
      const result = call(packet, la, lb);
      if (isHandle(result)) return result === la ? a : result === lb ? b : wrapHandle(result);
      return typeof result === "object" ? lift(result, [a, b], [la, lb]) : result;
    }
    // biome-ignore lint/complexity/noArguments: see above
    const args: unknown[] = Array.prototype.slice.call(arguments);
    if (count > 0 && isNamed(args[count - 1])) return callNamed(packet, args);
    const lowered = args.map(lower);
    return lift(call(packet, ...lowered), args, lowered);
  }
  packets.set(key, made);
  return made;
}

/** internal: the same operator as a method body, with `this` as its first argument. */
export function method(name: string): (this: Tensor, ...args: unknown[]) => unknown {
  const op = operator("aten", name);
  return function (this: Tensor, a?: unknown, b?: unknown, ...rest: unknown[]) {
    // biome-ignore lint/complexity/noArguments: a rest parameter alone would make an array of every call
    switch (arguments.length) {
      case 0:
        return op(this);
      case 1:
        return op(this, a);
      case 2:
        return op(this, a, b);
      default:
        return op(this, a, b, ...rest);
    }
  };
}
