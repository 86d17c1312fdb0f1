// Arguments on their way from the launching process to its ranks. Data and tensors are sent; of a model or an optimizer its state, because
// each rank has made its own, equal one. Everything else is refused before there are processes.
import { Tensor, UsageError } from "@fabric-ts/torch";
import { describe } from "../utilities/describe.js";

/** internal: what `fabric.launch(fn, ...args)` sends of its arguments. */
export interface PackedArguments {
  /** The arguments, with null in the places of stateful objects. */
  values: unknown[];
  /** The states of those, by their places. */
  states: { path: Key[]; state: unknown }[];
}

type Key = string | number;

interface Stateful {
  stateDict(): unknown;
  loadStateDict(state: unknown): unknown;
}

/** internal: throws a `TypeError` that names the first thing that cannot be sent. With `ownObjects` false, neither can models. */
export function packArguments(args: readonly unknown[], { ownObjects = true } = {}): PackedArguments {
  const states: PackedArguments["states"] = [];
  const known = new Map<object, unknown>();
  const visit = (value: unknown, path: Key[]): unknown => {
    if (isStateful(value)) {
      if (!ownObjects) throw notSendable(value, path, "Make it inside of the function, and send its `stateDict()`.");
      states.push({ path, state: value.stateDict() });
      return null;
    }
    if (typeof value !== "object" || value === null || isLeaf(value)) return checked(value, path);
    const before = known.get(value);
    if (before !== undefined) return before;
    if (Array.isArray(value)) {
      const copy: unknown[] = [];
      known.set(value, copy);
      for (const [index, item] of value.entries()) copy.push(visit(item, [...path, index]));
      return copy;
    }
    if (isPlain(value)) {
      const copy = Object.create(Object.getPrototypeOf(value) as object | null) as Record<string, unknown>;
      known.set(value, copy);
      for (const [key, item] of Object.entries(value)) {
        // A key called "__proto__" is data.
        const own = { value: visit(item, [...path, key]), configurable: true, enumerable: true, writable: true };
        Object.defineProperty(copy, key, own);
      }
      return copy;
    }
    if (value instanceof Map || value instanceof Set) {
      checkSendable([...value], path);
      return value;
    }
    return checked(value, path);
  };
  return { values: args.map((value, index) => visit(value, [index])), states };
}

/** internal: in a rank: the arguments as they were sent, with this rank's own models and optimizers, in the states that were sent. */
export function unpackArguments(packed: PackedArguments, own: readonly unknown[]): unknown[] {
  for (const { path, state } of packed.states) {
    const mine = at(own, path);
    if (!isStateful(mine)) {
      throw new UsageError(
        `${placeOf(path)} of \`fabric.launch()\` has a state in the launching process, but is ${describe(mine)} in this rank.`,
        { hint: "The script has to make the same call in every process: look at what it does differently in a rank." },
      );
    }
    mine.loadStateDict(state);
    const parent = at(packed.values, path.slice(0, -1)) as Record<Key, unknown>;
    parent[path[path.length - 1] as Key] = mine;
  }
  return packed.values;
}

/** internal: throws a `TypeError` that names the first thing in a result that cannot be sent to another process. */
export function checkResult(value: unknown): void {
  checkSendable(value, ["result"]);
}

function checkSendable(value: unknown, path: Key[], seen = new Set<object>()): void {
  if (typeof value !== "object" || value === null || isLeaf(value)) return void checked(value, path);
  if (seen.has(value)) return;
  seen.add(value);
  if (value instanceof Map || value instanceof Set || Array.isArray(value)) {
    for (const [index, item] of [...value].entries()) checkSendable(item, [...path, index], seen);
  } else if (isPlain(value)) {
    for (const [key, item] of Object.entries(value)) checkSendable(item, [...path, key], seen);
  } else checked(value, path);
}

function checked(value: unknown, path: Key[]): unknown {
  const isData = typeof value === "object" ? value === null || isLeaf(value) : !/function|symbol/.test(typeof value);
  if (isData) return value;
  const hint =
    path[0] === "result"
      ? "Return plain data and tensors, such as a `stateDict()`."
      : "Send plain data, tensors, models and optimizers. What else the function needs it can refer to, and each rank has its own: `fabric.launch((fabric) => train(fabric, dataset))`.";
  throw notSendable(value, path, hint);
}

function notSendable(value: unknown, path: Key[], hint: string): TypeError {
  return new TypeError(
    `${placeOf(path)} of \`fabric.launch()\` cannot be sent to other processes: it is ${describe(value)}.\n${hint}`,
  );
}

// "Argument 2" or "Argument 2, `.layers[0]`"; fn itself is the first.
function placeOf([first, ...rest]: Key[]): string {
  const where = typeof first === "number" ? `Argument ${first + 2}` : "The result";
  const inside = rest.map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`)).join("");
  return inside === "" ? where : `${where}, \`${inside}\`,`;
}

function at(root: unknown, path: readonly Key[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<Key, unknown> | null | undefined)?.[key], root);
}

function isStateful(value: unknown): value is Stateful {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  const { stateDict, loadStateDict } = value as Partial<Stateful>;
  return typeof stateDict === "function" && typeof loadStateDict === "function";
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as unknown;
  return prototype === Object.prototype || prototype === null;
}

/** Objects that arrive as what they were. */
function isLeaf(value: object): boolean {
  return (
    value instanceof Tensor ||
    value instanceof Date ||
    value instanceof RegExp ||
    value instanceof Error ||
    value instanceof ArrayBuffer ||
    ArrayBuffer.isView(value)
  );
}
