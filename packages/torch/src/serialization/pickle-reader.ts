// Reads pickles by an allow-list: data only. Of the opcodes that make or call something only those run that build plain
// containers or name an entry of the list in pickle-globals.ts. Declared sizes are checked before anything is allocated.
import type { CheckpointError } from "../errors.js";
import { damaged, refused } from "./damaged.js";
import { findGlobal } from "./pickle-globals.js";
import { type CallContext, PyDict, PyGlobal, PyRecord, PySet, PyStorage, PyTensor } from "./pickle-graph.js";
import { Tuple } from "./python-types.js";
import { decodeUtf8 } from "./utf8.js";

/** internal: the result of reading: a graph that still holds descriptions, and all tensors in it. */
export interface Unpickled {
  root: unknown;
  tensors: PyTensor[];
}

const most = { nesting: 1000, memo: 10_000_000, text: 16 * 1024 * 1024, name: 256, integer: 8192 };
// Values a graph may have when shared parts are counted each time; small pickles can name billions by sharing.
const mostExpanded = 1e8;

/**
 * internal: reads one pickle. `where` names it in errors. `records` are further classes and functions that it may name; what it makes with
 * them are `PyRecord`s, which `finishGraph` does not take.
 */
export function readPickle(bytes: Uint8Array, where: string, records: ReadonlySet<string> = noRecords): Unpickled {
  const machine = new Machine(bytes, where, records);
  const root = machine.run();
  checkGraph(root, where);
  return { root, tensors: machine.tensors };
}

const noRecords: ReadonlySet<string> = new Set();

class Machine {
  readonly tensors: PyTensor[] = [];
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #where: string;
  #at = 0;
  #charged = 0;
  #stack: unknown[] = [];
  readonly #marks: unknown[][] = [];
  readonly #memo: unknown[] = [];
  readonly #strings = new Map<number, string>();

  readonly #records: ReadonlySet<string>;

  constructor(bytes: Uint8Array, where: string, records: ReadonlySet<string>) {
    this.#records = records;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
  }

  run(): unknown {
    for (;;) {
      const opcode = this.#bytes[this.#take(1)];
      switch (opcode) {
        case 0x80: // PROTO
          if (this.#byte() > 5) throw this.#fault("it has a protocol newer than 5");
          break;
        case 0x95: {
          // FRAME
          const length = this.#length8();
          if (length > this.#bytes.length - this.#at) throw this.#fault("a frame is longer than the data");
          break;
        }
        case 0x2e: // STOP
          return this.#stop();
        case 0x28: // MARK
          if (this.#marks.length >= most.nesting) throw this.#tooDeep();
          this.#marks.push(this.#stack);
          this.#stack = [];
          break;
        case 0x4e: // NONE
          this.#stack.push(null);
          break;
        case 0x88: // NEWTRUE
          this.#stack.push(true);
          break;
        case 0x89: // NEWFALSE
          this.#stack.push(false);
          break;
        case 0x4b: // BININT1
          this.#stack.push(this.#byte());
          break;
        case 0x4d: // BININT2
          this.#stack.push(this.#view.getUint16(this.#take(2), true));
          break;
        case 0x4a: // BININT
          this.#stack.push(this.#view.getInt32(this.#take(4), true));
          break;
        case 0x8a: // LONG1
          this.#stack.push(this.#long(this.#byte()));
          break;
        case 0x8b: // LONG4
          this.#stack.push(this.#long(this.#length4()));
          break;
        case 0x47: // BINFLOAT
          this.#stack.push(this.#view.getFloat64(this.#take(8)));
          break;
        case 0x58: // BINUNICODE
          this.#stack.push(this.#text(this.#length4()));
          break;
        case 0x8c: // SHORT_BINUNICODE
          this.#stack.push(this.#text(this.#byte()));
          break;
        case 0x8d: // BINUNICODE8
          this.#stack.push(this.#text(this.#length8()));
          break;
        case 0x55: // SHORT_BINSTRING, from Python 2
          this.#stack.push(this.#ascii(this.#byte()));
          break;
        case 0x54: // BINSTRING, from Python 2
          this.#stack.push(this.#ascii(this.#length4()));
          break;
        case 0x43: // SHORT_BINBYTES
          this.#stack.push(this.#copy(this.#byte()));
          break;
        case 0x42: // BINBYTES
          this.#stack.push(this.#copy(this.#length4()));
          break;
        case 0x8e: // BINBYTES8
        case 0x96: // BYTEARRAY8
          this.#stack.push(this.#copy(this.#length8()));
          break;
        case 0x5d: // EMPTY_LIST
          this.#stack.push([]);
          break;
        case 0x61: {
          // APPEND
          const item = this.#pop();
          this.#list().push(item);
          break;
        }
        case 0x65: {
          // APPENDS
          const items = this.#popMark();
          const list = this.#list();
          for (const item of items) list.push(item);
          break;
        }
        case 0x29: // EMPTY_TUPLE
          this.#stack.push(new Tuple());
          break;
        case 0x85: // TUPLE1
        case 0x86: // TUPLE2
        case 0x87: // TUPLE3
          this.#tuple(opcode - 0x84);
          break;
        case 0x74: // TUPLE
          this.#push(Tuple.from(this.#popMark()));
          break;
        case 0x7d: // EMPTY_DICT
          this.#stack.push(new PyDict());
          break;
        case 0x73: {
          // SETITEM
          const value = this.#pop();
          const key = this.#pop();
          this.#setItems([key, value]);
          break;
        }
        case 0x75: // SETITEMS
          this.#setItems(this.#popMark());
          break;
        case 0x8f: // EMPTY_SET
          this.#stack.push(new PySet());
          break;
        case 0x90: {
          // ADDITEMS
          const items = this.#popMark();
          const set = this.#stack.at(-1);
          if (!(set instanceof PySet)) throw this.#fault("it adds an item to something that is not a set");
          for (const item of items) set.items.push(item);
          break;
        }
        case 0x91: {
          // FROZENSET
          const set = new PySet();
          set.items = this.#popMark();
          this.#push(set);
          break;
        }
        case 0x71: // BINPUT
          this.#put(this.#byte());
          break;
        case 0x72: // LONG_BINPUT
          this.#put(this.#length4());
          break;
        case 0x94: // MEMOIZE
          this.#put(this.#memo.length);
          break;
        case 0x68: // BINGET
          this.#get(this.#byte());
          break;
        case 0x6a: // LONG_BINGET
          this.#get(this.#length4());
          break;
        case 0x63: {
          // GLOBAL
          const module = this.#line();
          this.#stack.push(this.#global(module, this.#line()));
          break;
        }
        case 0x93: {
          // STACK_GLOBAL
          const name = this.#pop();
          const module = this.#pop();
          if (typeof module !== "string" || typeof name !== "string")
            throw this.#fault("it imports something without a name");
          this.#stack.push(this.#global(module, name));
          break;
        }
        case 0x52: // REDUCE
          this.#reduce();
          break;
        case 0x81: // NEWOBJ
          this.#newObject();
          break;
        case 0x62: // BUILD
          this.#build();
          break;
        case 0x51: // BINPERSID
          this.#storage();
          break;
        default:
          throw this.#refuseOpcode(opcode);
      }
    }
  }

  #fault(what: string): CheckpointError {
    return damaged(this.#where, `${what} (at byte ${this.#at}).`);
  }
  #tooDeep(): CheckpointError {
    return refused(this.#where, `its values are nested more than ${most.nesting} deep.`, "Save a flatter structure.");
  }
  #refuseOpcode(opcode: number): CheckpointError {
    if (opcode === 0x92 || opcode === 0x69 || opcode === 0x6f) {
      return this.#refuseInstance();
    }
    const code = opcode.toString(16).padStart(2, "0");
    return refused(
      this.#where,
      `it uses the pickle opcode 0x${code} (at byte ${this.#at}), which torch.save does not write.`,
      onlyData,
    );
  }

  #refuseInstance(): CheckpointError {
    return refused(this.#where, `it makes an instance of a class (at byte ${this.#at}).`, onlyData);
  }

  /** Moves over `count` bytes and returns where they start. */
  #take(count: number): number {
    const start = this.#at;
    if (count > this.#bytes.length - start) throw this.#fault("it ends in the middle of a value");
    this.#at = start + count;
    return start;
  }
  #byte(): number {
    return this.#bytes[this.#take(1)];
  }
  #length4(): number {
    return this.#view.getUint32(this.#take(4), true);
  }
  #length8(): number {
    return Number(this.#view.getBigUint64(this.#take(8), true));
  }
  #slice(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  #text(length: number): string {
    if (length > most.text)
      throw refused(this.#where, `it holds a text of ${length} bytes; the most is ${most.text}.`, onlyData);
    const bytes = this.#slice(length);
    // Keys repeat in thousands ("step", "exp_avg"): the same short text shares one string.
    const hash = length <= 4 ? -1 : hashOf(bytes);
    const known = hash < 0 ? undefined : this.#strings.get(hash);
    if (known !== undefined && sameText(known, bytes)) return known;
    const text = decodeUtf8(bytes);
    if (text === null) throw this.#fault("a text is not UTF-8");
    if (hash >= 0 && length <= 64) this.#strings.set(hash, text);
    return text;
  }
  #ascii(length: number): string {
    const bytes = this.#slice(length);
    if (length > most.text || bytes.some((byte) => byte >= 0x80)) {
      throw refused(this.#where, "it holds bytes that a Python 2 took for text.", "Save it again with Python 3.");
    }
    return Buffer.from(bytes).toString("latin1");
  }
  #copy(length: number): Uint8Array {
    return new Uint8Array(this.#slice(length));
  }
  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0 || end - this.#at > most.name) throw this.#fault("a name does not end");
    const text = decodeUtf8(this.#bytes.subarray(this.#at, end));
    this.#at = end + 1;
    if (text === null) throw this.#fault("a name is not text");
    return text;
  }

  /** A little-endian two's complement integer. */
  #long(length: number): number | bigint {
    if (length > most.integer) throw refused(this.#where, `it holds an integer of ${length} bytes.`, onlyData);
    if (length === 0) return 0;
    const bytes = Buffer.from(this.#slice(length)).reverse();
    const value = BigInt.asIntN(8 * length, BigInt(`0x${bytes.toString("hex")}`));
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #push(value: unknown): void {
    this.#stack.push(value);
  }
  #pop(): unknown {
    if (this.#stack.length === 0) throw this.#fault("it takes a value that is not there");
    return this.#stack.pop();
  }
  #popMark(): unknown[] {
    const items = this.#stack;
    const outer = this.#marks.pop();
    if (!outer) throw this.#fault("it ends a group that did not begin");
    this.#stack = outer;
    return items;
  }
  #list(): unknown[] {
    const list = this.#stack.at(-1);
    if (!Array.isArray(list) || list instanceof Tuple) throw this.#fault("it appends to something that is not a list");
    return list;
  }
  #tuple(count: number): void {
    if (this.#stack.length < count) throw this.#fault("it takes a value that is not there");
    const tuple = new Tuple();
    for (let i = this.#stack.length - count; i < this.#stack.length; i++) tuple.push(this.#stack[i]);
    this.#stack.length -= count;
    this.#stack.push(tuple);
  }
  #setItems(items: unknown[]): void {
    const dict = this.#stack.at(-1);
    if (!(dict instanceof PyDict)) throw this.#fault("it sets an item of something that is not a dict");
    if (items.length % 2 !== 0) throw this.#fault("a dict has a key without a value");
    for (const item of items) dict.items.push(item);
  }

  #put(index: number): void {
    if (this.#stack.length === 0) throw this.#fault("it notes a value that is not there");
    if (index > this.#bytes.length || index >= most.memo)
      throw this.#fault(`it notes a value under the number ${index}`);
    this.#memo[index] = this.#stack.at(-1);
  }
  #get(index: number): void {
    const value = this.#memo[index];
    if (value === undefined) throw this.#fault(`it refers to the value ${index}, which it has not noted`);
    this.#stack.push(value);
  }

  #global(module: string, name: string): PyGlobal {
    const found = findGlobal(module, name);
    if (found) return found;
    if (this.#records.has(`${module}.${name}`)) return new PyGlobal(`${module}.${name}`, { record: true });
    throw refused(
      this.#where,
      `it refers to ${shown(`${module}.${name}`)}, which is not on the list of safe names.`,
      hintFor(module),
    );
  }

  #reduce(): void {
    const args = this.#pop();
    const callee = this.#pop();
    if (!(callee instanceof PyGlobal)) throw this.#fault("it calls something that is not a function");
    if (!(args instanceof Tuple)) throw this.#fault(`it calls ${callee.name} with arguments that are not a tuple`);
    const { call, record } = callee.meaning;
    if (record) {
      this.#stack.push(new PyRecord(callee.name, args));
      return;
    }
    if (!call) throw refused(this.#where, `it calls ${callee.name}, which is not allowed.`, onlyData);
    this.#stack.push(call(args, this.#context(callee.name)));
  }
  #context(name: string): CallContext {
    return {
      bad: (what) => damaged(this.#where, `${name} ${what} (at byte ${this.#at}).`),
      charge: (count) => {
        this.#charged += count;
        if (this.#charged > this.#bytes.length)
          throw refused(this.#where, "it repeats parts of itself beyond its size.", onlyData);
      },
      addTensor: (tensor) => {
        this.tensors.push(tensor);
        return tensor;
      },
    };
  }

  #newObject(): void {
    const args = this.#pop();
    const callee = this.#pop();
    if (!(callee instanceof PyGlobal) || callee.meaning.record !== true || !(args instanceof Tuple))
      throw this.#refuseInstance();
    this.#stack.push(new PyRecord(callee.name, args));
  }

  // State dicts carry version numbers in an attribute, which have no place in a plain object: they are dropped.
  #build(): void {
    const state = this.#pop();
    const target = this.#stack.at(-1);
    if (target instanceof PyRecord) {
      target.state = state;
      return;
    }
    if (!(target instanceof PyDict) || !(state instanceof PyDict)) {
      throw refused(this.#where, "it sets the state of something that is not a dict.", onlyData);
    }
  }

  #storage(): void {
    const id = this.#pop();
    if (!(id instanceof Tuple) || id.length !== 5) throw this.#fault("a storage has a strange description");
    const [tag, type, key, location, numel] = id;
    if (tag !== "storage" || !(type instanceof PyGlobal) || type.meaning.storage === undefined) {
      throw this.#fault("a storage has a strange type");
    }
    if (typeof key !== "string" || !/^[0-9A-Za-z_.-]{1,100}$/.test(key))
      throw this.#fault("a storage has a strange name");
    if (typeof location !== "string" || location.length > 100) throw this.#fault("a storage has a strange place");
    if (typeof numel !== "number" || !Number.isSafeInteger(numel) || numel < 0)
      throw this.#fault("a storage has a strange size");
    this.#stack.push(new PyStorage(type.meaning.storage, key, location, numel));
  }

  #stop(): unknown {
    if (this.#marks.length > 0 || this.#stack.length !== 1)
      throw this.#fault("it ends with a number of values other than one");
    if (this.#at !== this.#bytes.length) throw this.#fault("it goes on behind its end");
    return this.#stack[0];
  }
}

const onlyData =
  "Only tensors, numbers, text, lists, tuples, dicts and sets are loaded; save just those with torch.save.";

function hintFor(module: string): string {
  if (module.startsWith("numpy")) {
    return "It is a NumPy value: convert it in Python before saving, with `.item()` for numbers and `torch.from_numpy` for arrays.";
  }
  if (module.startsWith("__torch__")) return "It is a TorchScript model: save its `state_dict()` instead.";
  return onlyData;
}

function shown(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: names come from the file
  const safe = name.replace(/[\0-\x1f\x7f]/g, "?");
  return safe.length > 100 ? `${safe.slice(0, 97)}...` : safe;
}

function hashOf(bytes: Uint8Array): number {
  let hash = bytes.length;
  for (let i = 0; i < bytes.length && i < 64; i++) hash = (Math.imul(hash, 31) + bytes[i]) & 0x3fffffff;
  return hash;
}

function sameText(text: string, bytes: Uint8Array): boolean {
  if (text.length !== bytes.length) return false;
  for (let i = 0; i < bytes.length; i++) if (text.charCodeAt(i) !== bytes[i] || bytes[i] >= 0x80) return false;
  return true;
}

// Refuses graphs that contain themselves, are nested too deep, or grow beyond measure when walked.
function checkGraph(root: unknown, where: string): void {
  const known = new Map<object, { size: number; height: number }>();
  const open = new Set<object>();
  const tooDeep = (): CheckpointError =>
    refused(where, `its values are nested more than ${most.nesting} deep.`, "Save a flatter structure.");
  const visit = (value: object, depth: number): { size: number; height: number } | null => {
    let children: readonly unknown[];
    if (Array.isArray(value)) children = value;
    else if (value instanceof PyDict || value instanceof PySet) children = value.items;
    else if (value instanceof PyRecord) children = [value.args, value.state];
    else return null;
    const before = known.get(value);
    if (before !== undefined) {
      if (depth + before.height > most.nesting) throw tooDeep();
      return before;
    }
    if (open.has(value)) throw refused(where, "a list, tuple or dict contains itself.", "Save data without cycles.");
    if (depth >= most.nesting) throw tooDeep();
    open.add(value);
    const measure = { size: 1, height: 1 };
    for (const child of children) {
      const inner = typeof child === "object" && child !== null ? visit(child, depth + 1) : null;
      measure.size += inner?.size ?? 1;
      if (inner !== null && inner.height >= measure.height) measure.height = inner.height + 1;
    }
    open.delete(value);
    if (measure.size > mostExpanded)
      throw refused(where, "it repeats parts of itself until they are too many to walk.", onlyData);
    known.set(value, measure);
    return measure;
  };
  if (typeof root === "object" && root !== null) visit(root, 0);
}

/** internal: turns the graph into the values of JavaScript; `makeTensor` supplies the tensors. */
export function finishGraph(root: unknown, where: string, makeTensor: (tensor: PyTensor) => unknown): unknown {
  const seen = new Set<object>();
  const keyOf = (key: unknown): unknown => {
    if (key === null || (typeof key !== "object" && typeof key !== "function")) return key;
    if (key instanceof Tuple || key instanceof PyTensor || key instanceof PyGlobal) return finish(key);
    throw damaged(where, "a dict or set has a key that Python does not allow.");
  };
  const finish = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) {
      if (seen.has(value)) return value;
      seen.add(value);
      for (let i = 0; i < value.length; i++) value[i] = finish(value[i]);
      return value;
    }
    if (value instanceof PyDict) {
      value.made ??= finishDict(value);
      return value.made;
    }
    if (value instanceof PySet) {
      value.made ??= new Set(value.items.map(keyOf));
      return value.made;
    }
    if (value instanceof PyTensor) {
      value.made ??= makeTensor(value);
      return value.made;
    }
    if (value instanceof Uint8Array) return value;
    if (value instanceof PyGlobal) {
      if (value.meaning.value !== undefined) return value.meaning.value;
      throw refused(where, `it holds ${value.name} itself as a value.`, onlyData);
    }
    if (value instanceof PyStorage)
      throw refused(where, "it holds a storage outside of a tensor.", "Save tensors instead of storages.");
    throw new Error("internal: unknown value in a pickle graph");
  };
  const finishDict = (dict: PyDict): object => {
    const { items } = dict;
    let named = true;
    for (let i = 0; named && i < items.length; i += 2) named = typeof items[i] === "string";
    if (named) {
      // Without a prototype: "__proto__" is a key like any other.
      const object = Object.create(null) as Record<string, unknown>;
      for (let i = 0; i < items.length; i += 2) object[items[i] as string] = finish(items[i + 1]);
      return object;
    }
    const map = new Map<unknown, unknown>();
    for (let i = 0; i < items.length; i += 2) map.set(keyOf(items[i]), finish(items[i + 1]));
    return map;
  };
  return finish(root);
}
