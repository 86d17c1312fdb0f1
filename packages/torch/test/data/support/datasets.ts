// Datasets and functions that loader workers import in the tests.
import * as torch from "@fabric-ts/torch";
import { data, type Tensor } from "@fabric-ts/torch";

/** Sample `i` is a typed array, its number, a text and a tensor. */
export class Mixed extends data.Dataset<{ row: Float32Array; n: number; name: string; square: Tensor }> {
  readonly #count: number;

  constructor(count: number) {
    super();
    this.#count = count;
  }
  get length(): number {
    return this.#count;
  }
  get(index: number): { row: Float32Array; n: number; name: string; square: Tensor } {
    return { row: Float32Array.of(index, -index), n: index, name: `s${index}`, square: torch.tensor([index * index]) };
  }
}

/** What a dataset may draw at random, all of it. */
export function draws(): Record<string, number[] | number> {
  const zeros = torch.zeros([3]);
  const drawn: Record<string, Tensor> = {
    rand: torch.rand([2]),
    randn: torch.randn([17], { dtype: "float64" }),
    randint: torch.randint(2, 100, [3]),
    randperm: torch.randperm(5),
    randLike: torch.randLike(zeros),
    randnLike: torch.randnLike(zeros, { dtype: "float64" }),
    randintLike: torch.randintLike(zeros, 2, 50),
    normal: torch.normal(zeros, 2),
    multinomial: torch.multinomial(torch.ones([9]), 3),
    bernoulli: torch.full([20], 0.5).bernoulli(),
    uniform: torch.zeros([2]).uniform_(-1, 1),
    exponential: torch.zeros([2]).exponential_(),
    ofOthers: torch.rand([2], { generator: new torch.Generator().manualSeed(3) }),
  };
  const values = Object.entries(drawn).map(([name, tensor]) => [name, tensor.tolist() as number[]]);
  return Object.fromEntries([...values, ["host", Math.random()]]);
}

/** Each sample is what `draws` gives. */
export class Random extends data.Dataset<ReturnType<typeof draws> & { worker: number }> {
  get length(): number {
    return 6;
  }
  get(): ReturnType<typeof draws> & { worker: number } {
    return { ...draws(), worker: data.getWorkerInfo()?.id ?? -1 };
  }
}

/** Whole numbers, of which each worker gives its share. */
export class Counting extends data.IterableDataset<number> {
  readonly #count: number;
  readonly #closed: Int32Array | null;

  /** `closed[0]` counts how often the stream was closed. */
  constructor(count: number, closed: Int32Array | null = null) {
    super();
    this.#count = count;
    this.#closed = closed;
  }
  override *[Symbol.iterator](): Generator<number> {
    const { id, numWorkers } = data.getWorkerInfo() ?? { id: 0, numWorkers: 1 };
    try {
      for (let i = id; i < this.#count; i += numWorkers) yield i;
    } finally {
      if (this.#closed !== null) Atomics.add(this.#closed, 0, 1);
    }
  }
}

/** Counting, asynchronously. */
export class Slow extends data.IterableDataset<number> {
  override async *[Symbol.asyncIterator](): AsyncGenerator<number> {
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      yield i;
    }
  }
}

/** A stream of numbers drawn at random that knows where it is, and how often it has been read. */
export class Position extends data.IterableDataset<number[]> {
  at = 0;
  round = 0;

  override *[Symbol.iterator](): Generator<number[]> {
    const id = data.getWorkerInfo()?.id ?? 0;
    while (this.at < 8) {
      const value = this.at++;
      yield [id, this.round, value, torch.rand([1]).item()];
    }
    this.at = 0;
    this.round++;
  }
  stateDict(): unknown {
    return { at: torch.tensor(this.at), round: this.round };
  }
  loadStateDict({ at, round }: { at: Tensor; round: number }): void {
    this.at = at.item();
    this.round = round;
  }
}

/** Notes in shared memory what happens: `[samples read, threads ended]`. */
export class Watched extends data.Dataset<number> {
  readonly #notes: Int32Array;

  constructor(notes: Int32Array) {
    super();
    this.#notes = notes;
    if (data.getWorkerInfo() !== null) process.on("exit", () => Atomics.add(notes, 1, 1));
  }
  get length(): number {
    return 40;
  }
  get(index: number): number {
    Atomics.add(this.#notes, 0, 1);
    return index;
  }
}

/** Sample 5 goes wrong in the way that is asked for. */
export class Broken extends data.Dataset<unknown> {
  readonly how: string;

  constructor(how: string) {
    super();
    this.how = how;
  }
  get length(): number {
    return 8;
  }
  get(index: number): unknown {
    if (index !== 5) return index;
    switch (this.how) {
      case "throw":
        throw new RangeError("there is nothing here");
      case "reject":
        return Promise.reject(Object.assign(new Error("not found"), { code: "ENOENT", cause: new TypeError("why") }));
      case "exit":
        return process.exit(3);
      case "loop":
        for (;;);
      case "wait":
        return new Promise(() => setInterval(() => {}, 1000));
      case "later":
        setTimeout(() => {
          throw new Error("out of nowhere");
        });
        return new Promise((resolve) => setTimeout(resolve, 1000));
      case "text":
        return "a text";
      case "class":
        return { inner: new Mixed(1) };
      case "own":
        throw new torch.ConfigurationError("no such option", { code: "ERR_OWN" });
      case "string":
        throw "only a text";
      default:
        return index;
    }
  }
}

/** A dataset that is made in time. */
export async function madeLater(count: number): Promise<Mixed> {
  await new Promise((resolve) => setTimeout(resolve, 1));
  return new Mixed(count);
}

/** Writes its number into a tensor that all threads share. */
export class Writer extends data.Dataset<number> {
  readonly #target: Tensor;

  constructor(target: Tensor) {
    super();
    this.#target = target;
  }
  get length(): number {
    return 4;
  }
  get(index: number): number {
    if (data.getWorkerInfo() !== null) this.#target.select(0, index).fill_(index + 1);
    return index;
  }
}

/** Fails when a worker makes it. */
export class Unmakable extends data.Dataset<number> {
  readonly length = 3;

  constructor(here: number) {
    super();
    if (here !== process.pid || process.env.FABRIC_TEST_WORKER !== undefined) throw new Error("no such folder");
  }
  get(index: number): number {
    return index;
  }
}

/** What a batch is made of, where, and with what. */
export function summarize(samples: number[], extra: string): { sum: number; worker: number; extra: string } {
  const sum = samples.reduce((a, b) => a + b, 0);
  return { sum, worker: data.getWorkerInfo()?.id ?? -1, extra };
}

/** Notes that it ran: `calls[workerId] = value`. */
export function note(workerId: number, calls: Int32Array, value: number): void {
  Atomics.add(calls, workerId, value);
}

/** Seeds a worker otherwise. */
export function reseed(workerId: number): void {
  torch.manualSeed(1000 + workerId);
}

/** Makes no dataset. */
export function notDataset(): object {
  return { size: 3 };
}
