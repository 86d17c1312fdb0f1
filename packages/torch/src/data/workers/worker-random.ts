// The random numbers of a worker thread. LibTorch has one default generator for the whole process; a worker that drew from it would
// change the numbers of the training loop. So in a worker the default generator is one of its own: operators that draw get it, and
// `manualSeed`, `initialSeed` and the RNG state are about it. `Math.random` is seeded along with it.
import { NotSupportedError } from "../../errors.js";
import { type GeneratorHandle, type Handle, type NativeBinding, onNativeLoad } from "../../native.js";
import { HostRandom, type HostRandomState } from "./host-random.js";

/** internal: operators that take a generator by name. */
export const drawing: ReadonlySet<string> = new Set(
  (
    "_fused_dropout _sample_dirichlet _standard_gamma bernoulli bernoulli_ binomial cauchy cauchy_ exponential exponential_ " +
    "geometric geometric_ log_normal log_normal_ multinomial normal normal_ normal_functional poisson rand randint randn random " +
    "random_ randperm rrelu rrelu_ rrelu_with_noise rrelu_with_noise_ rrelu_with_noise_functional uniform uniform_"
  ).split(" "),
);

/** internal: operators like another tensor, and the one that takes the shape and a generator instead. */
const likes: Readonly<Record<string, string>> = { rand_like: "rand", randn_like: "randn", randint_like: "randint" };

/** internal: operators that draw from the default generator of the process and take no other. */
export const refused: ReadonlySet<string> = new Set(
  (
    "dropout dropout_ native_dropout alpha_dropout alpha_dropout_ feature_dropout feature_dropout_ feature_alpha_dropout " +
    "feature_alpha_dropout_"
  ).split(" "),
);

/** internal: where a worker's random numbers are: what goes on in another process exactly there. */
export interface WorkerRandomState {
  /** The engine's generator, if it has drawn. */
  readonly engine: Uint8Array | null;
  readonly host: HostRandomState;
}

/** internal: the generators of this worker thread. Make one, before the engine is loaded. */
export class WorkerRandom {
  readonly #host = new HostRandom();
  #binding: NativeBinding | undefined;
  #generator: GeneratorHandle | undefined;
  #seed = 0n;
  #hasDrawn = false;
  #pending: Uint8Array | null = null;

  constructor() {
    Math.random = () => {
      this.#hasDrawn = true;
      return this.#host.next();
    };
    onNativeLoad((binding) => this.#attach(binding));
  }

  /** Where the sequences began: the seed of `start`, or what `manualSeed` was called with since. */
  get seed(): bigint {
    return this.#seed;
  }

  /** Starts all sequences anew. */
  start(seed: bigint): void {
    this.#seed = BigInt.asUintN(64, seed);
    this.#hasDrawn = false;
    this.#pending = null;
    this.#host.seed(this.#seed);
    if (this.#generator !== undefined) this.#binding?.generatorManualSeed(this.#generator, this.#seed);
  }

  /** The state, or undefined when nothing has been drawn since `start` or the last question. */
  takeState(): WorkerRandomState | undefined {
    if (!this.#hasDrawn) return undefined;
    this.#hasDrawn = false;
    return { engine: this.#engineState(), host: this.#host.state };
  }

  /** Goes on where `takeState` was. */
  setState({ engine, host }: WorkerRandomState): void {
    this.#host.state = host;
    this.#pending = engine;
    if (this.#binding !== undefined) this.#applyPending(this.#binding);
  }

  #engineState(): Uint8Array | null {
    if (this.#binding === undefined || this.#generator === undefined) return this.#pending;
    const state = this.#binding.generatorState(this.#generator);
    const bytes = new Uint8Array(this.#binding.readBytes(state));
    this.#binding.release(state);
    return bytes;
  }

  #applyPending(binding: NativeBinding): void {
    if (this.#pending === null || this.#generator === undefined) return;
    const state = binding.fromBytes(this.#pending, "uint8", [this.#pending.length]);
    binding.setGeneratorState(this.#generator, state);
    binding.release(state);
    this.#pending = null;
  }

  // The binding is an object of this thread, with the addon's exports as its prototype: what is set on it hides them here alone.
  #attach(binding: NativeBinding): void {
    const addon = Object.getPrototypeOf(binding) as NativeBinding;
    const own = addon.createGenerator("cpu");
    this.#binding = addon;
    this.#generator = own;
    addon.generatorManualSeed(own, this.#seed);
    this.#applyPending(addon);

    const seeded = (seed: bigint): void => {
      this.#seed = BigInt.asUintN(64, seed);
      this.#hasDrawn = true;
      this.#host.seed(seed);
    };
    binding.manualSeed = (seed) => {
      addon.generatorManualSeed(own, seed);
      seeded(seed);
    };
    binding.randomSeed = () => {
      const seed = addon.generatorRandomSeed(own);
      seeded(seed);
      return seed;
    };
    binding.initialSeed = () => addon.generatorInitialSeed(own);
    binding.defaultGenerator = (device) => (device === "cpu" ? own : addon.defaultGenerator(device));
    binding.setGeneratorState = (generator, state) => {
      if (generator === own) this.#hasDrawn = true;
      addon.setGeneratorState(generator, state);
    };
    this.#drawFromOwn(binding, addon, own);
  }

  #drawFromOwn(binding: NativeBinding, addon: NativeBinding, own: GeneratorHandle): void {
    const packets = new Map<number, string>();
    const sites = new Map<number, { packet: number; base: string; names: readonly string[] }>();
    const siteOf = remembered((packet: number, names: readonly string[]) => addon.callSite(packet, names));
    binding.resolve = (namespace, name) => {
      const packet = addon.resolve(namespace, name);
      const base = name.split(".", 1)[0] as string;
      if (namespace === "aten" && (drawing.has(base) || base in likes || refused.has(base))) packets.set(packet, base);
      return packet;
    };
    binding.callSite = (packet, names) => {
      const site = addon.callSite(packet, names);
      const base = packets.get(packet);
      if (base !== undefined) sites.set(site, { packet, base, names });
      return site;
    };
    const draw = (packet: number, base: string, names: readonly string[], values: readonly unknown[]): unknown => {
      if (refused.has(base)) throw cannotDraw(base);
      if (names.includes("generator") || !isOnCpu(addon, base, names, values))
        return names.length === 0 ? addon.call(packet, ...values) : addon.callNamed(siteOf(packet, names), ...values);
      this.#hasDrawn = true;
      const like = likes[base];
      if (like === undefined) return addon.callNamed(siteOf(packet, [...names, "generator"]), ...values, own);
      const options = likeOptions(addon, names, values, own);
      const [self, ...rest] = values.slice(0, values.length - names.length) as [Handle, ...unknown[]];
      const site = siteOf(addon.resolve("aten", like), Object.keys(options));
      return addon.callNamed(site, ...rest, addon.shape(self), ...Object.values(options));
    };
    binding.call = (packet, ...values) => {
      const base = packets.get(packet);
      return base === undefined ? addon.call(packet, ...values) : draw(packet, base, [], values);
    };
    binding.callNamed = (site, ...values) => {
      const found = sites.get(site);
      if (found === undefined) return addon.callNamed(site, ...values);
      return draw(found.packet, found.base, found.names, values);
    };
  }
}

function remembered(
  makeSite: (packet: number, names: readonly string[]) => number,
): (packet: number, names: readonly string[]) => number {
  const made = new Map<string, number>();
  return (packet, names) => {
    const key = `${packet}:${names.join(",")}`;
    let site = made.get(key);
    if (site === undefined) {
      site = makeSite(packet, names);
      made.set(key, site);
    }
    return site;
  };
}

const factories: ReadonlySet<string> = new Set(["rand", "randint", "randn", "randperm"]);

function isOnCpu(addon: NativeBinding, base: string, names: readonly string[], values: readonly unknown[]): boolean {
  const at = names.indexOf("device");
  const device = at < 0 ? null : values[values.length - names.length + at];
  if (typeof device === "string") return device === "cpu";
  const [first] = values;
  return factories.has(base) || typeof first !== "object" || addon.device(first as Handle) === "cpu";
}

/** The named arguments with which `randn_like(x, ...)` is `randn(shape of x, ...)`, which takes a generator and draws the same numbers. */
function likeOptions(
  addon: NativeBinding,
  names: readonly string[],
  values: readonly unknown[],
  own: GeneratorHandle,
): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  names.forEach((name, i) => {
    if (name !== "memoryFormat" && name !== "memory_format") options[name] = values[values.length - names.length + i];
  });
  options.dtype ??= addon.dtype(values[0] as Handle);
  options.device ??= addon.device(values[0] as Handle);
  options.generator = own;
  return options;
}

function cannotDraw(name: string): NotSupportedError {
  return new NotSupportedError(
    `\`${name}\` draws from the random numbers of the whole process, which a data loader's worker thread must not touch.`,
    { hint: "Draw in the dataset with `torch.rand(...)` or `Math.random()`, or do this in the training loop." },
  );
}
