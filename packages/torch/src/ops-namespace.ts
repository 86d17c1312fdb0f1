// Every registered operator by name, untyped: `ops.aten._foreach_add_(...)`, `ops.aten.add.Tensor(...)`, `ops.mylib.foo(...)`.
import { closeNames } from "./close-names.js";
import { NotSupportedError } from "./errors.js";
import { native } from "./native.js";
import { type Operator, operator } from "./ops.js";

/** All overloads of an operator, callable; each overload is a property of its own (`default` is the one without a name). */
// biome-ignore lint/suspicious/noExplicitAny: arguments and results are known only to the engine
export type OperatorPacket = ((...args: any[]) => any) & { readonly [overload: string]: (...args: any[]) => any };

/** The operators of one library. */
export type OperatorNamespace = { readonly [name: string]: OperatorPacket };

// Names near a mistyped one; among equally near ones those as private as it come first.
function suggestions(name: string, names: readonly string[]): string[] {
  const privacy = (known: string): number => (known.startsWith("_") === name.startsWith("_") ? 0 : 1);
  const sorted = [...names].sort((a, b) => privacy(a) - privacy(b) || (a < b ? -1 : 1));
  return closeNames(name, sorted);
}

// "aten::add.Tensor(...)" -> ["aten", "add", "Tensor"].
function registered(): [string, string, string][] {
  return native()
    .schemas()
    .map((schema) => {
      const [, space, name, overload] = /^(\w+)::(\w+)(?:\.(\w+))?/.exec(schema) ?? [];
      return [space ?? "", name ?? "", overload ?? "default"];
    });
}

function unknownOperator(space: string, name: string, overload?: string): NotSupportedError {
  const all = registered();
  const { torch } = native().versions();
  if (overload !== undefined) {
    const known = all.filter(([s, n]) => s === space && n === name).map(([, , o]) => o);
    return new NotSupportedError(`"${space}::${name}" has no overload "${overload}" in LibTorch ${torch}.`, {
      hint: `It has ${known.join(", ")}.`,
    });
  }
  const inSpace = all.filter(([s]) => s === space).map(([, n]) => n);
  const near = suggestions(name, inSpace);
  const hint =
    inSpace.length === 0
      ? `No library registered operators under "${space}".`
      : near.length > 0
        ? `Did you mean ${near.map((n) => `\`${n}\``).join(" or ")}?`
        : "Check its name, or use a LibTorch that has it (FABRIC_LIBTORCH=/path, then `npm run setup`).";
  return new NotSupportedError(`There is no operator "${space}::${name}" in LibTorch ${torch}.`, { hint });
}

// A property that JavaScript itself asks for, such as when a value is awaited or printed.
function isForeign(key: string | symbol): key is symbol {
  return typeof key === "symbol" || key === "then" || key === "toJSON" || key === "constructor" || key === "prototype";
}

function packetProxy(space: string, name: string): OperatorPacket {
  const call: Operator = operator(space, name);
  const overloads = new Map<string, Operator>();
  return new Proxy(call, {
    get(target, key) {
      if (isForeign(key) || key in Function.prototype) return Reflect.get(target, key);
      let found = overloads.get(key);
      if (!found) {
        if (!native().hasOperator(space, `${name}.${key}`)) throw unknownOperator(space, name, key);
        found = operator(space, `${name}.${key}`);
        overloads.set(key, found);
      }
      return found;
    },
    has: (target, key) => key in target || (typeof key === "string" && native().hasOperator(space, `${name}.${key}`)),
  }) as unknown as OperatorPacket;
}

function namespaceProxy(space: string): OperatorNamespace {
  const packets = new Map<string, OperatorPacket>();
  return new Proxy(Object.create(null) as OperatorNamespace, {
    get(_target, key) {
      if (isForeign(key)) return undefined;
      let found = packets.get(key);
      if (!found) {
        if (key.includes(".") || !native().hasOperator(space, key)) throw unknownOperator(space, key);
        found = packetProxy(space, key);
        packets.set(key, found);
      }
      return found;
    },
    has: (_target, key) => typeof key === "string" && native().hasOperator(space, key),
  });
}

const namespaces = new Map<string, OperatorNamespace>();

/**
 * Every operator that the engine knows, by library and name, spelled as registered. An unknown one is a `NotSupportedError`
 * that suggests names; `"name" in ops.aten` asks without an error.
 *
 *     ops.aten._foreach_add_(tensors, others, { alpha: 2 });
 *     ops.aten.add.Tensor(a, b);
 */
export const ops: { readonly [namespace: string]: OperatorNamespace } = new Proxy(Object.create(null), {
  get(_target, key) {
    if (isForeign(key)) return undefined;
    let found = namespaces.get(key);
    if (!found) {
      found = namespaceProxy(key);
      namespaces.set(key, found);
    }
    return found;
  },
});
