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

// Lists of numbers, such as sizes, go to the addon in memory that both share: getting them out of an array there takes
// several crossings a number. Each of the `lists` stands for one part of `numbers`: its length, then its numbers.
const longestList = 32;
let numbers = new Float64Array(0);
let lists: readonly object[] = [];
let listsUsed = 0; // in the call that is being prepared

function lowerArray(value: readonly unknown[]): unknown {
  const count = value.length;
  if (count <= longestList && listsUsed < lists.length) {
    const start = listsUsed * (longestList + 1);
    let i = 0;
    for (; i < count; i++) {
      const item = value[i];
      if (typeof item !== "number") break;
      numbers[start + 1 + i] = item;
    }
    if (i === count) {
      numbers[start] = count;
      return lists[listsUsed++];
    }
  }
  for (const item of value) if (typeof item === "object" && item !== null) return value.map(lowerItem);
  return value;
}

function lowerItem(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Tensor) return handleOf(value);
  if (Array.isArray(value)) return value.map(lowerItem);
  return (value as { [generatorHandle]?: unknown })[generatorHandle] ?? value;
}

/** internal: replaces tensors (also in arrays) by their handles. */
function lower(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Tensor) return handleOf(value);
  return Array.isArray(value) ? lowerArray(value) : lowerItem(value);
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

/** What an operator keeps from call to call. */
interface Packet {
  id: number;
  /** For each list of argument names that it was called with, the number of where they go. */
  sites: Map<string, number> | undefined;
}

function siteOf(packet: Packet, key: string, names: readonly string[]): number {
  packet.sites ??= new Map();
  let site = packet.sites.get(key);
  if (site === undefined) {
    site = native().callSite(packet.id, names);
    packet.sites.set(key, site);
  }
  return site;
}

/** The only name in `options` that has a value, when it needs no check of its own; else undefined. */
function singleName(options: Record<string, unknown>): string | undefined {
  let single: string | undefined;
  for (const name in options) {
    if (options[name] === undefined) continue;
    if (single !== undefined || name === "dtype" || name === "device" || name === "requiresGrad") return undefined;
    single = name;
  }
  return single;
}

function callWithNames(packet: Packet, args: readonly unknown[]): unknown {
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
    names.length === 0 ? call(packet.id, ...lowered) : callNamed(siteOf(packet, names.join(","), names), ...lowered);
  const result = lift(returned, values, lowered);
  if (requiresGrad !== undefined) {
    if (!(result instanceof Tensor)) {
      throw typeError("requiresGrad", "left out for an operator that makes no tensor", requiresGrad);
    }
    result.requiresGrad = requiresGrad;
  }
  return result;
}

// The addon's calls, kept beside the table of exports: looking them up there costs more than the crossing itself.
let call: NativeBinding["call"] = () => -1;
let callNamed: NativeBinding["callNamed"] = () => -1;

// Spreading an array into a call takes as long as a small operator.
function callPositional(id: number, v: readonly unknown[]): unknown {
  switch (v.length) {
    case 3:
      return call(id, v[0], v[1], v[2]);
    case 4:
      return call(id, v[0], v[1], v[2], v[3]);
    case 5:
      return call(id, v[0], v[1], v[2], v[3], v[4]);
    case 6:
      return call(id, v[0], v[1], v[2], v[3], v[4], v[5]);
    case 7:
      return call(id, v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
    case 8:
      return call(id, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
    default:
      return call(id, ...v);
  }
}

function resolve(namespace: string, name: string): number {
  const binding = native();
  if (lists.length === 0) {
    ({ call, callNamed } = binding);
    numbers = new Float64Array(8 * (longestList + 1));
    lists = binding.numberLists(numbers, longestList + 1);
  }
  return binding.resolve(namespace, name);
}

/** internal: an operator by name, such as `operator("aten", "add")` or `operator("aten", "add.Tensor")`. Resolved at its first call. */
export function operator(namespace: string, name: string): Operator {
  const key = `${namespace}::${name}`;
  const known = packets.get(key);
  if (known) return known;
  const packet: Packet = { id: -1, sites: undefined };
  // Written out for up to two arguments and for one name, most of all calls: no arrays are made there.
  function made(a?: unknown, b?: unknown, c?: unknown): unknown {
    if (packet.id < 0) packet.id = resolve(namespace, name);
    listsUsed = 0;
    // biome-ignore lint/complexity/noArguments: a rest parameter would make an array of every call
    const count = arguments.length;
    if (count === 1 && !isNamed(a)) {
      const la = lower(a);
      const result = call(packet.id, la);
      if (isHandle(result)) return result === la ? a : wrapHandle(result);
      return typeof result === "object" ? lift(result, [a], [la]) : result;
    }
    if (count === 2 && !isNamed(b)) {
      const la = lower(a);
      const lb = lower(b);
      const result = call(packet.id, la, lb);
      if (isHandle(result)) return result === la ? a : result === lb ? b : wrapHandle(result);
      return typeof result === "object" ? lift(result, [a, b], [la, lb]) : result;
    }
    if (count === 2 || (count === 3 && isNamed(c))) {
      const options = (count === 2 ? b : c) as Record<string, unknown>;
      const only = singleName(options);
      if (only !== undefined) {
        const value = options[only];
        const site = siteOf(packet, only, [only]);
        const la = lower(a);
        const lb = count === 3 ? lower(b) : undefined;
        const low = lower(value);
        const result = count === 2 ? callNamed(site, la, low) : callNamed(site, la, lb, low);
        if (isHandle(result))
          return result === la ? a : result === lb ? b : result === low ? value : wrapHandle(result);
        return typeof result === "object" ? lift(result, [a, b, value], [la, lb, low]) : result;
      }
    }
    const args: unknown[] = new Array(count);
    // biome-ignore lint/complexity/noArguments: see above
    for (let i = 0; i < count; i++) args[i] = arguments[i];
    if (count > 0 && isNamed(args[count - 1])) return callWithNames(packet, args);
    const lowered: unknown[] = new Array(count);
    for (let i = 0; i < count; i++) lowered[i] = lower(args[i]);
    return lift(callPositional(packet.id, lowered), args, lowered);
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
