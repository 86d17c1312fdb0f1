// What a pickle is read into before tensors exist: Python's containers, and descriptions of storages and tensors.
import type { Dtype } from "../dtype.js";

/** internal: a dict while it is read; whether it becomes an object or a Map is known only at the end. */
export class PyDict {
  /** Keys and values in turn. */
  readonly items: unknown[] = [];
  /** The object or Map made of it. */
  made: object | undefined;
}

/** internal: a set or frozenset. */
export class PySet {
  items: unknown[] = [];
  made: Set<unknown> | undefined;
}

/** internal: what a name of the allow-list means. */
export interface Meaning {
  /** What calling it does; absent when it must not be called. */
  readonly call?: (args: readonly unknown[], context: CallContext) => unknown;
  /** What it stands for as a value. */
  readonly value?: string;
  /** It is the class of storages with such elements. */
  readonly storage?: Dtype | "untyped";
  /** It is an element type. */
  readonly dtype?: Dtype;
  /** It is a class of tensors. */
  readonly tensorClass?: boolean;
  /** What is made with it is a `PyRecord`. */
  readonly record?: boolean;
}

/** internal: an object of a class that a reader knows, or a call that it knows: nothing but its arguments and state. */
export class PyRecord {
  state: unknown = null;

  constructor(
    readonly name: string,
    readonly args: readonly unknown[],
  ) {}
}

/** internal: a name that a pickle may import. A class of its own, so that nothing in a file can pass for one. */
export class PyGlobal {
  constructor(
    readonly name: string,
    readonly meaning: Meaning,
  ) {}
}

/** internal: what the meaning of a call may need. */
export interface CallContext {
  /** Makes the error for arguments that the function cannot have. */
  bad(what: string): Error;
  /** Counts values that are copied; what is copied cannot exceed what is in the file. */
  charge(count: number): void;
  /** Notes a tensor, so that it is checked against its storage. */
  addTensor(tensor: PyTensor): PyTensor;
}

/** internal: elements in a record `data/<key>` of the archive. */
export class PyStorage {
  constructor(
    readonly dtype: Dtype | "untyped",
    readonly key: string,
    /** The device that it was saved from. */
    readonly location: string,
    /** Elements; bytes when untyped. */
    readonly numel: number,
  ) {}
}

/** internal: a view of a storage. */
export class PyTensor {
  /** What the tensor becomes, once made. */
  made: unknown;
  isParameter = false;
  isConj = false;
  isNeg = false;

  constructor(
    readonly storage: PyStorage,
    readonly dtype: Dtype,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    readonly requiresGrad: boolean,
  ) {}
}
