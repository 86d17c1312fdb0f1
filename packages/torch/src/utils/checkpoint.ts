// Activation checkpointing: what a part of the network keeps for backward is thrown away and computed again when the
// backward pass gets there. The non-reentrant way of `torch.utils.checkpoint`.
import { autocast } from "../autocast.js";
import { enableGrad } from "../autograd/grad-mode.js";
import { currentPass } from "../autograd/pass.js";
import { pushHooks } from "../autograd/saved-tensors.js";
import { checkOptions, typeError } from "../check.js";
import { FabricError, NotSupportedError } from "../errors.js";
import { native } from "../native.js";
import { getRngState, setRngState } from "../random.js";
import { Tensor } from "../tensor.js";

/** Options of `checkpoint`. */
export interface CheckpointOptions {
  /** Draw the same random numbers in the second run, for dropout. Default: true. */
  preserveRngState?: boolean | undefined;
  /** `"default"` compares shape, dtype and device of what both runs keep; `"none"` does not. */
  determinismCheck?: "default" | "none" | undefined;
  /** End the second run as soon as it has computed what backward needs. Default: true. */
  earlyStop?: boolean | undefined;
  /** Only false, which is what is done here in any case. */
  useReentrant?: false | undefined;
}

const OPTIONS = ["preserveRngState", "determinismCheck", "earlyStop", "useReentrant"];

/**
 * Runs `fn(...args)` and keeps only its tensor arguments for the backward pass, which runs `fn` a second time. Results
 * and gradients have the same bits as without. Costs about a third more time and saves the memory of what `fn` keeps.
 * An object of options may come last.
 * @param fn a module or a function; it has to compute the same twice, and is called again inside `backward`
 * @example
 * const y = utils.checkpoint(block, x);
 * const z = utils.checkpoint((a, b) => head(a.mul(b)), y, x, { preserveRngState: false });
 */
export function checkpoint<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R;
export function checkpoint<A extends unknown[], R>(
  fn: (...args: A) => R,
  ...argsAndOptions: [...args: A, options: CheckpointOptions]
): R;
export function checkpoint(fn: (...args: unknown[]) => unknown, ...given: unknown[]): unknown {
  if (typeof fn !== "function") throw typeError("fn", "a module or a function", fn);
  const { args, options } = splitOptions(given);
  if (!native().isGradEnabled()) return refusePromise(fn(...args));
  const frame = new Frame(fn, args, options);
  const leave = pushHooks(
    (tensor) => frame.keepPlace(tensor),
    (place: Place, inputs) => frame.restore(place, inputs),
    args.map((arg) => (arg instanceof Tensor ? arg : null)),
  );
  try {
    const result = refusePromise(fn(...args));
    frame.forwardCompleted = true;
    return result;
  } finally {
    leave();
  }
}

// A plain object in the last place whose keys are all options of ours: other objects are arguments of `fn`.
function splitOptions(given: readonly unknown[]): { args: unknown[]; options: CheckpointOptions } {
  const last = given[given.length - 1];
  const isPlain = typeof last === "object" && last !== null && Object.getPrototypeOf(last) === Object.prototype;
  const keys = isPlain ? Object.keys(last) : [];
  if (keys.length === 0 || !keys.some((key) => OPTIONS.includes(key))) return { args: [...given], options: {} };
  const options = last as CheckpointOptions;
  checkOptions(options, OPTIONS, "utils.checkpoint(block, x, { preserveRngState: false })");
  if ((options.useReentrant as boolean | undefined) === true) {
    throw new NotSupportedError("There is no reentrant checkpointing here, only the newer way that replaces it.", {
      hint: "Leave `useReentrant` out.",
    });
  }
  const { determinismCheck: check } = options;
  if (check !== undefined && check !== "default" && check !== "none") {
    throw typeError("determinismCheck", '"default" or "none"', check);
  }
  return { args: given.slice(0, -1), options };
}

function refusePromise<T>(result: T): T {
  if (typeof (result as { then?: unknown } | null | undefined)?.then !== "function") return result;
  throw new TypeError("`checkpoint` takes a synchronous function, but it returned a promise.\nAwait outside of it.");
}

/** What stands for a tensor that an operator would have kept. */
class Place {
  /** By backward pass: the tensor computed again, or null once it was handed out. */
  readonly tensors = new Map<number, Tensor | null>();
}

class RecomputationDone extends Error {}

/** An error of checkpointing itself: the second run did not do what the first did. */
class CheckpointingError extends FabricError {
  constructor(message: string, hint: string) {
    super(message, { code: "ERR_ACTIVATION_CHECKPOINT", hint });
    this.name = "CheckpointingError";
  }
}

// How many frames were ever made: tells whether a second run made some inside.
let frames = 0;

// One call of `checkpoint`. It lives as long as the graph holds one of its places.
class Frame {
  forwardCompleted = false;
  readonly #fn: (...args: unknown[]) => unknown;
  // Tensors among the arguments are kept by the engine, which frees them with the graph; null stands for them here.
  readonly #args: (unknown | null)[];
  readonly #isTensor: boolean[];
  readonly #options: CheckpointOptions;
  readonly #surroundings: Surroundings;
  readonly #places: WeakRef<Place>[] = [];
  readonly #kinds: string[] = [];
  readonly #done = new Set<number>();
  #ignoreCount = false;
  #handedOut: Tensor | null = null;

  constructor(fn: (...args: unknown[]) => unknown, args: readonly unknown[], options: CheckpointOptions) {
    frames++;
    this.#fn = fn;
    this.#isTensor = args.map((arg) => arg instanceof Tensor);
    this.#args = args.map((arg) => (arg instanceof Tensor ? null : arg));
    this.#options = options;
    this.#surroundings = new Surroundings(args, options.preserveRngState ?? true);
  }

  /** First run: notes that something was to be kept. */
  keepPlace(tensor: Tensor): Place {
    const place = new Place();
    this.#places.push(new WeakRef(place));
    if (this.#options.determinismCheck !== "none") this.#kinds.push(kindOf(tensor));
    tensor.dispose();
    return place;
  }

  /** Backward: the tensor of a place, after a second run if this pass has had none yet. */
  restore(place: Place, inputs: () => (Tensor | null)[]): Tensor {
    // The engine has its own reference by now to what it was given last: this one would hold the memory longer.
    this.#handedOut?.dispose();
    const pass = currentPass();
    if (!this.#done.has(pass)) this.#recompute(pass, inputs());
    const tensor = place.tensors.get(pass);
    if (!tensor) {
      throw new CheckpointingError(
        tensor === null
          ? "A tensor of a checkpointed part was asked for twice in one backward pass."
          : "The second run of a checkpointed part kept fewer tensors than the first.",
        tensor === null
          ? "In a custom function, read `ctx.savedTensors` once in `backward`."
          : "The function has to compute the same both times: it must not depend on what changes in between.",
      );
    }
    place.tensors.set(pass, null);
    this.#handedOut = tensor;
    return tensor;
  }

  #recompute(pass: number, inputs: readonly (Tensor | null)[]): void {
    const args = this.#args.map((arg, i) => (this.#isTensor[i] ? inputs[i] : arg));
    const packed: Tensor[] = [];
    const framesBefore = frames;
    const places = { next: 0 };
    const leave = pushHooks(
      (tensor) => {
        packed.push(tensor);
        this.#fill(pass, places.next++, tensor);
        return tensor;
      },
      (tensor: Tensor) => tensor,
    );
    try {
      this.#surroundings.run(() => this.#fn(...args));
    } catch (error) {
      if (!(error instanceof RecomputationDone)) throw error;
    } finally {
      leave();
      // What the second graph keeps is not needed, unless checkpoints inside keep their arguments in it.
      if (frames === framesBefore) for (const tensor of packed) tensor.dispose();
    }
    this.#done.add(pass);
    if (places.next < this.#places.length && !this.#ignoreCount) {
      throw this.#mismatch(`the first run kept ${this.#places.length} tensors, the second ${places.next}`);
    }
  }

  #fill(pass: number, index: number, tensor: Tensor): void {
    if (index >= this.#places.length) {
      // A backward pass inside of `fn`: the first run goes on after it.
      if (!this.forwardCompleted) {
        this.#ignoreCount = true;
        return;
      }
      throw this.#mismatch(`the second run keeps more than the ${this.#places.length} tensors of the first`);
    }
    if (this.#options.determinismCheck !== "none" && this.#kinds[index] !== kindOf(tensor)) {
      throw this.#mismatch(`tensor ${index} was ${this.#kinds[index]} in the first run and is ${kindOf(tensor)} now`);
    }
    this.#places[index]?.deref()?.tensors.set(pass, tensor.detach());
    const stop = this.#options.earlyStop ?? true;
    if (stop && this.forwardCompleted && index + 1 === this.#places.length) throw new RecomputationDone();
  }

  #mismatch(what: string): CheckpointingError {
    return new CheckpointingError(
      `The two runs of a checkpointed part differ: ${what}.`,
      "The function has to compute the same both times. Things to look for: random choices in JavaScript, counters, " +
        "a module switched between `train()` and `eval()`, parameters changed before `backward`.",
    );
  }
}

function kindOf(tensor: Tensor): string {
  return `${tensor.dtype} [${tensor.shape.join(", ")}] on ${tensor.device}`;
}

// Random states and autocast as they were in the first run.
class Surroundings {
  readonly #random: { device: string; state: Tensor }[] = [];
  readonly #autocast: { device: "cpu" | "cuda"; enabled: boolean; dtype: "bfloat16" | "float16"; cache: boolean }[];

  constructor(args: readonly unknown[], preserveRngState: boolean) {
    if (preserveRngState) {
      const devices = new Set(["cpu"]);
      for (const arg of args) if (arg instanceof Tensor && arg.device.startsWith("cuda")) devices.add(arg.device);
      for (const device of devices) this.#random.push({ device, state: getRngState(device) });
    }
    this.#autocast = (["cpu", "cuda"] as const).map((device) => {
      const { enabled, dtype, cacheEnabled } = native().autocastState(device);
      return { device, enabled, dtype: dtype as "bfloat16" | "float16", cache: cacheEnabled };
    });
  }

  run(body: () => void): void {
    const now = this.#random.map(({ device }) => getRngState(device));
    for (const { device, state } of this.#random) setRngState(state, device);
    try {
      enableGrad(() =>
        this.#autocast.reduce<() => void>(
          (inner, { device, enabled, dtype, cache }) =>
            () =>
              autocast(device, { enabled, dtype, cacheEnabled: cache }, inner),
          () => void body(),
        )(),
      );
    } finally {
      this.#random.forEach(({ device }, i) => {
        setRngState(now[i] as Tensor, device);
      });
    }
  }
}
