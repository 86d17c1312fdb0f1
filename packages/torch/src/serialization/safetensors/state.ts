// Any value that `save` takes as a safetensors file: its tensors by their place ("optimizer.state.0.exp_avg"), all else as JSON in
// the metadata. A flat dictionary of tensors is a file like those of other programs.
import { Parameter } from "../../nn/parameter.js";
import { Tensor } from "../../tensor.js";
import { damaged } from "../damaged.js";
import { PyFloat, Tuple } from "../python-types.js";
import { cannotSave, checkKey, checkPlain, containsItself, Key, mostNesting, pathText, tooDeep } from "../unsavable.js";
import type { Contents } from "./contents.js";
import type { Metadata } from "./writer.js";

const stateKey = "fabric_state";

/** internal: the tensors of a value by name, and the metadata that says where they belong. */
export function flatten(value: unknown): { tensors: Map<string, Tensor>; metadata: Metadata } {
  const encoder = new Encoder();
  const root = encoder.encode(value, null);
  const { tensors } = encoder;
  const metadata = { format: "pt" };
  return { tensors, metadata: isFlat(value, tensors) ? metadata : { ...metadata, [stateKey]: JSON.stringify(root) } };
}

function isFlat(value: unknown, tensors: ReadonlyMap<string, Tensor>): boolean {
  if (typeof value !== "object" || value === null || ![null, Object.prototype].includes(Object.getPrototypeOf(value)))
    return false;
  const entries = Object.entries(value);
  return entries.length === tensors.size && entries.every(([key, item]) => tensors.get(key) === item && isPlain(item));
}
function isPlain(tensor: unknown): boolean {
  return tensor instanceof Tensor && !(tensor instanceof Parameter) && !tensor.requiresGrad;
}

// JSON for what JSON has; an object with one known key for everything else.
type Node = null | boolean | string | number | Node[] | TensorNode | Tagged;
interface TensorNode {
  tensor: string;
  parameter?: true;
  grad?: true;
}
type Tagged =
  | { float: string }
  | { int: string }
  | { tuple: Node[] }
  | { dict: Record<string, Node> }
  | { map: [Node, Node][] }
  | { set: Node[] };

/** What an item is called within what holds it; as in `Path`. */
type Step = string | number | Key;
interface Place {
  readonly step: Step;
  readonly above: Place | null;
}

class Encoder {
  readonly tensors = new Map<string, Tensor>();
  readonly #names = new Map<Tensor, string>();
  readonly #open = new Set<object>();

  encode(value: unknown, place: Place | null): Node {
    switch (typeof value) {
      case "string":
      case "boolean":
        return value;
      case "number":
        return Number.isFinite(value) && !Object.is(value, -0) ? value : { float: floatText(value) };
      case "bigint":
        return { int: String(value) };
      default:
        if (value === null) return null;
        if (value instanceof Tensor) return this.#tensor(value, place);
        if (typeof value !== "object") throw cannotSave(value, whereIs(place));
        if (value instanceof PyFloat) return this.encode(value.value, place);
        return this.#container(value, place);
    }
  }

  #container(value: object, place: Place | null): Node {
    if (this.#open.has(value)) throw containsItself(whereIs(place));
    if (this.#open.size >= mostNesting) throw tooDeep(whereIs(place));
    this.#open.add(value);
    const node = this.#items(value, place);
    this.#open.delete(value);
    return node;
  }
  #items(value: object, above: Place | null): Node {
    const where = (): string => whereIs(above);
    const at = (item: unknown, step: Step): Node => this.encode(item, { step, above });
    if (Array.isArray(value)) {
      const items = Array.from(value, (item, i) => at(item, i));
      return value instanceof Tuple ? { tuple: items } : items;
    }
    if (value instanceof Map) {
      for (const key of value.keys()) checkKey(key, where);
      return { map: [...value].map(([key, item]) => [this.encode(key, above), at(item, new Key(key))]) };
    }
    if (value instanceof Set) {
      for (const item of value) checkKey(item, where);
      return { set: [...value].map((item) => this.encode(item, above)) };
    }
    const dict = Object.create(null) as Record<string, Node>;
    for (const [key, item] of Object.entries(checkPlain(value, where))) dict[key] = at(item, key);
    return { dict };
  }

  #tensor(tensor: Tensor, place: Place | null): TensorNode {
    let name = this.#names.get(tensor);
    if (name === undefined) {
      name = this.#newName(place);
      this.#names.set(tensor, name);
      this.tensors.set(name, tensor);
    }
    if (tensor instanceof Parameter) return { tensor: name, parameter: true, ...(tensor.requiresGrad ? grad : {}) };
    return { tensor: name, ...(tensor.requiresGrad ? grad : {}) };
  }
  #newName(place: Place | null): string {
    const steps = stepsTo(place).map((step) => String(step instanceof Key ? step.key : step));
    const wanted = (steps.join(".") || "value").replace(/^__metadata__$/, "__metadata__.");
    let name = wanted;
    for (let count = 2; this.tensors.has(name); count++) name = `${wanted}#${count}`;
    return name;
  }
}

const grad = { grad: true } as const;

function stepsTo(place: Place | null): Step[] {
  const steps: Step[] = [];
  for (let at = place; at !== null; at = at.above) steps.push(at.step);
  return steps.reverse();
}
function whereIs(place: Place | null): string {
  return pathText(stepsTo(place));
}
function floatText(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** internal: what a tensor of the file becomes. */
export interface Wanted {
  isParameter: boolean;
  requiresGrad: boolean;
}

/** internal: makes a tensor of the file; called once for each way in which it is wanted. */
export type MakeTensor = (name: string, wanted: Wanted) => Tensor;

/** internal: the value that a file's metadata describe, or all tensors by name where they describe none. */
export function unflatten(file: Contents, make: MakeTensor): unknown {
  const text = file.header.metadata[stateKey];
  if (text === undefined) {
    const flat = Object.create(null) as Record<string, Tensor>;
    for (const name of file.keys) flat[name] = make(name, { isParameter: false, requiresGrad: false });
    return flat;
  }
  const where = file.name;
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch {
    throw damaged(where, `its metadata "${stateKey}" is no JSON.`);
  }
  return new Decoder(file, make).decode(root, 0);
}

class Decoder {
  readonly #file: Contents;
  readonly #make: MakeTensor;
  readonly #names: ReadonlySet<string>;
  readonly #made = new Map<string, Tensor>();

  constructor(file: Contents, make: MakeTensor) {
    this.#file = file;
    this.#make = make;
    this.#names = new Set(file.keys);
  }

  decode(node: unknown, depth: number): unknown {
    if (typeof node !== "object" || node === null) return node;
    if (depth > mostNesting) throw this.#fault(`is nested more than ${mostNesting} deep`);
    const list = (items: unknown): unknown[] => {
      if (!Array.isArray(items)) throw this.#fault("has something other than a list where one belongs");
      return items.map((item) => this.decode(item, depth + 1));
    };
    if (Array.isArray(node)) return list(node);
    const [[kind, content] = [], ...more] = Object.entries(node);
    if (kind === "tensor") return this.#tensor(node as TensorNode);
    if (more.length > 0) throw this.#fault("has a value of no known kind");
    switch (kind) {
      case "float":
        return this.#matching(content, /^(-0|NaN|-?Infinity)$/, Number);
      case "int":
        return this.#matching(content, /^-?\d{1,20000}$/, BigInt);
      case "tuple":
        return Tuple.from(list(content));
      case "set":
        return new Set(list(content));
      case "map":
        return new Map(list(content).map((pair) => this.#pair(pair)));
      case "dict":
        return this.#dict(content, depth);
      default:
        throw this.#fault("has a value of no known kind");
    }
  }

  #dict(content: unknown, depth: number): Record<string, unknown> {
    if (typeof content !== "object" || content === null || Array.isArray(content))
      throw this.#fault("has a dict that is none");
    const dict = Object.create(null) as Record<string, unknown>;
    for (const [key, item] of Object.entries(content)) dict[key] = this.decode(item, depth + 1);
    return dict;
  }
  #pair(pair: unknown): [unknown, unknown] {
    if (!Array.isArray(pair) || pair.length !== 2) throw this.#fault("has a map of something other than pairs");
    return pair as [unknown, unknown];
  }
  #matching<T>(content: unknown, pattern: RegExp, convert: (text: string) => T): T {
    if (typeof content !== "string" || !pattern.test(content)) throw this.#fault("has a broken number");
    return convert(content);
  }
  #tensor({ tensor: name, parameter, grad }: TensorNode): Tensor {
    if (!this.#names.has(name))
      throw this.#fault(`names the tensor ${JSON.stringify(name).slice(0, 100)}, which the file lacks`);
    const wanted = { isParameter: parameter === true, requiresGrad: grad === true };
    const { dtype } = this.#file.entry(name);
    if (wanted.requiresGrad && !/^(b?float|complex)/.test(dtype))
      throw this.#fault(`wants gradients for a tensor of ${dtype}`);
    const key = `${wanted.isParameter} ${wanted.requiresGrad} ${name}`;
    let made = this.#made.get(key);
    if (!made) {
      made = this.#make(name, wanted);
      this.#made.set(key, made);
    }
    return made;
  }
  #fault(what: string): Error {
    return damaged(this.#file.name, `its metadata "${stateKey}" ${what}.`);
  }
}
