// The typed face of the addon, loaded on first use. Everything in it is internal: handles are opaque externals that only
// tensor.ts turns into tensors. It deliberately does not load LibTorch at import: a process that only launches others never does.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { builtins } from "./builtins.js";
import {
  CheckpointError,
  ConfigurationError,
  DistributedError,
  NotSupportedError,
  TorchError,
  UsageError,
} from "./errors.js";
import { locateAddon } from "./native-locate.js";
import { processAddon } from "./process.js";

declare const handleBrand: unique symbol;
/** internal: an external that owns one native object. */
export interface Handle {
  readonly [handleBrand]: "tensor";
}
/** internal: an external around a native generator. */
export interface GeneratorHandle {
  readonly [handleBrand]: "generator";
}
/** internal: an external around a native backward guard. */
export interface GuardHandle {
  readonly [handleBrand]: "guard";
}
/** internal: an external around one call of a custom autograd function. */
export interface FunctionHandle {
  readonly [handleBrand]: "function";
}

/** internal: what the addon exports. One member for each entry of its export tables. */
export interface NativeBinding {
  // module.cc
  setup(
    makeError: (kind: string, message: string, hint: string, code: string) => Error,
    collect: (full: boolean) => void,
    callerStack: () => string,
    warn: (text: string) => void,
  ): void;
  versions(): {
    torch: string;
    cxxAbi: boolean;
    cuda: boolean;
    nccl: boolean;
    gloo: boolean;
    config: string;
    parallelInfo: string;
  };

  // dispatch.cc: operators by name. A packet is all overloads of a name, or the one of "name.overload".
  resolve(namespace: string, name: string): number;
  hasOperator(namespace: string, name: string): boolean;
  call(packet: number, ...args: unknown[]): unknown;
  /** A number for calls of a packet with these named arguments. */
  callSite(packet: number, names: readonly string[]): number;
  /** Positional values, then the values of the site's names. */
  callNamed(site: number, ...values: unknown[]): unknown;
  /** Values that stand for lists of numbers in `memory`, each `stride` numbers after the one before: a length, then the list. */
  numberLists(memory: Float64Array, stride: number): object[];
  schemas(): string[];
  setDefaultDevice(device: string | null): void;

  // tensor.cc: metadata and data
  shape(h: Handle): number[];
  strides(h: Handle): number[];
  dtype(h: Handle): string;
  device(h: Handle): string;
  numel(h: Handle): number;
  elementSize(h: Handle): number;
  storageOffset(h: Handle): number;
  isContiguous(h: Handle): boolean;
  /** True for the sparse layouts. */
  isSparse(h: Handle): boolean;
  isLeaf(h: Handle): boolean;
  requiresGrad(h: Handle): boolean;
  setRequiresGrad(h: Handle, value: boolean): void;
  grad(h: Handle): Handle | null;
  setGrad(h: Handle, grad: Handle | null): void;
  /** Points the tensor at other data (dtype and device may change) and keeps its identity. */
  setData(h: Handle, data: Handle): void;
  /** Shares storage, without gradient history. */
  data(h: Handle): Handle;
  gradFnName(h: Handle): string | null;
  version(h: Handle): number;
  /** True when both handles hold the same native tensor. */
  isSame(a: Handle, b: Handle): boolean;
  /** A second handle on the same native tensor. */
  alias(h: Handle): Handle;
  item(h: Handle): number | bigint | boolean | { re: number; im: number };
  /** All elements, row-major, as bytes of the tensor's dtype; copies from any device. */
  readBytes(h: Handle): ArrayBuffer;
  /** A contiguous CPU tensor that owns a copy of the bytes. */
  fromBytes(bytes: ArrayBufferView | ArrayBuffer, dtype: string, shape: number[]): Handle;
  /** Key of the storage (equal for tensors that share it) and its size in bytes. */
  storageInfo(h: Handle): { key: bigint; nbytes: number };
  /** Copies bytes [offset, offset + length) of the storage. */
  readStorage(h: Handle, offset: number, length: number): ArrayBuffer;
  setDefaultDtype(dtype: string): void;
  getDefaultDtype(): string;
  setNumThreads(n: number): void;
  getNumThreads(): number;
  setNumInteropThreads(n: number): void;
  /** C's pow, whose last bit can differ from JavaScript's `**`. */
  pow(base: number, exponent: number): number;

  // memory.cc
  release(h: Handle): void;
  isReleased(h: Handle): boolean;
  memoryStats(): { liveTensors: number; chargedBytes: number; peakBytes: number; collections: number };
  setCollectEvery(bytes: number): void;
  /** glibc's allocator keeps freed blocks of any size when true (the default set at load). */
  keepFreedBlocks(keep: boolean): void;

  // autograd.cc
  backward(
    tensors: Handle[],
    grads: (Handle | null)[],
    retainGraph: boolean,
    createGraph: boolean,
    inputs: Handle[] | null,
  ): void;
  gradOf(
    outputs: Handle[],
    inputs: Handle[],
    grads: (Handle | null)[],
    retainGraph: boolean,
    createGraph: boolean,
    allowUnused: boolean,
  ): (Handle | null)[];
  registerHook(h: Handle, hook: (grad: Handle) => Handle | null | undefined): number;
  removeHook(h: Handle, id: number): void;
  retainGrad(h: Handle): void;
  isGradEnabled(): boolean;
  setGradEnabled(enabled: boolean): void;
  isInferenceMode(): boolean;
  pushInferenceMode(enabled: boolean): void;
  popInferenceMode(): void;
  enterDualLevel(): number;
  exitDualLevel(level: number): void;
  /** Returns what it was. */
  setForwardGradEnabled(enabled: boolean): boolean;
  /** A native hook that refuses a backward pass unless allowed; it never enters JavaScript. */
  createGuard(message: string, hint: string): GuardHandle;
  attachGuard(guard: GuardHandle, h: Handle): void;
  /** Process-wide: guards let gradients pass while the depth is above zero. */
  allowGuarded(delta: 1 | -1): void;
  /** False when the tensor has no JavaScript or native hook of ours. */
  hasHooks(h: Handle): boolean;

  // callbacks.cc
  /** For tests: backward passes run on another thread, as CUDA's do. */
  setPassesElsewhere(on: boolean): void;
  /** JavaScript functions that the engine holds: hooks and custom functions. */
  liveCallbacks(): number;

  // engine.cc
  setDetectAnomaly(enabled: boolean, checkNan: boolean): void;
  detectAnomalyState(): [enabled: boolean, checkNan: boolean];
  /** The inputs are saved too, by the hooks outside of these. */
  pushSavedTensorHooks(
    pack: (tensor: Handle) => unknown,
    unpack: (packed: unknown) => Handle,
    inputs: (Handle | null)[],
  ): void;
  popSavedTensorHooks(): void;
  /** Inside `unpack`: the inputs that were saved with its hooks. */
  savedHookInputs(): (Handle | null)[];

  // autograd-function.cc
  /**
   * Makes the outputs of a forward that ran without recording functions of its inputs. With null in the place of
   * `backward` nothing is recorded. Entries of `outputs` that are no tensors are null.
   */
  applyFunction(
    name: string,
    inputs: Handle[],
    outputs: (Handle | null)[],
    dirty: Handle[],
    nonDifferentiable: Handle[],
    saved: (Handle | null)[],
    materialize: boolean,
    backward: ((gradients: (Handle | null)[], node: FunctionHandle) => (Handle | null)[]) | null,
    jvp: ((tangents: (Handle | null)[]) => (Handle | null)[]) | null,
  ): (Handle | null)[];
  savedTensors(node: FunctionHandle): (Handle | null)[];
  /** The same values, whose own gradient is an error. */
  delayedError(message: string, tensors: (Handle | null)[]): (Handle | null)[];

  // autocast.cc
  autocastState(deviceType: string): { enabled: boolean; dtype: string; cacheEnabled: boolean };
  setAutocast(deviceType: string, enabled: boolean, dtype: string, cacheEnabled: boolean): void;
  /** Nesting +1 / -1; at zero the cast cache is dropped. */
  nestAutocast(delta: 1 | -1): number;

  // random.cc
  manualSeed(seed: bigint): void;
  initialSeed(): bigint;
  randomSeed(): bigint;
  createGenerator(device: string): GeneratorHandle;
  defaultGenerator(device: string): GeneratorHandle;
  generatorManualSeed(g: GeneratorHandle, seed: bigint): void;
  generatorInitialSeed(g: GeneratorHandle): bigint;
  generatorRandomSeed(g: GeneratorHandle): bigint;
  generatorState(g: GeneratorHandle): Handle;
  setGeneratorState(g: GeneratorHandle, state: Handle): void;
  generatorDevice(g: GeneratorHandle): string;

  // cuda.cc
  cudaDeviceCount(): number;
  cudaCurrentDevice(): number;
  cudaSetDevice(index: number): void;
  cudaSynchronize(index: number): void;
  cudaEmptyCache(): void;
  cudaClearCublasWorkspaces(): void;
  cudaMemoryStats(index: number): { allocated: number; reserved: number; peakAllocated: number };
  cudaResetPeakMemoryStats(index: number): void;
  cudaDeviceName(index: number): string;
  cudaCapability(index: number): [number, number];

  // flops.cc
  /** +1 begins to count, -1 ends. */
  countFlops(delta: 1 | -1): void;
  /** Floating-point operations since the first of the users that count now, by operator: `{ "aten::mm": 128 }`. */
  flopCounts(): Record<string, number>;

  // matmul-precision.cc
  getFloat32MatmulPrecision(): string;
  setFloat32MatmulPrecision(precision: string): void;

  // determinism.cc
  getFlag(name: string): boolean;
  setFlag(name: string, value: boolean): void;

  // exchange.cc: tensors between threads
  openExchange(): number;
  /** Frees what nobody took, and what is given from now on. */
  closeExchange(exchange: number): void;
  /** The number for which another thread gets a tensor over the same storage. */
  giveTensor(exchange: number, h: Handle): number;
  /** The tensor of a number; with `keep` other threads may take it too. */
  takeTensor(exchange: number, number: number, keep: boolean): Handle;
  /** How many tensors were given and not taken, in all exchanges. */
  tensorsInExchanges(): number;
  /** A tensor [rows, length] of typed arrays that are equally long and of the dtype's type. */
  fromRows(rows: readonly ArrayBufferView[], dtype: string): Handle;
  /** Operators that this thread calls use no other threads. */
  useOneThread(): void;

  // distributed.cc and reducer.cc: see distributed/native.ts for their part of the interface.
  [name: string]: unknown;
}

const errorClasses: Record<string, new (message: string, details: { hint?: string; code?: string }) => Error> = {
  CheckpointError,
  ConfigurationError,
  DistributedError,
  NotSupportedError,
  TorchError,
  UsageError,
};

function makeError(kind: string, message: string, hint: string, code: string): Error {
  if (kind === "TypeError") return new TypeError(hint ? `${message}\n${hint}` : message);
  const details: { hint?: string; code?: string } = {};
  if (hint) details.hint = hint;
  if (code) details.code = code;
  return new (errorClasses[kind] ?? TorchError)(message, details);
}

/** A function that runs V8's minor or full collector, or one that does nothing where V8 does not offer it. */
function collector(): (full: boolean) => void {
  const { v8, vm } = builtins;
  v8.setFlagsFromString("--expose-gc");
  const gc = vm.runInNewContext("typeof gc === 'function' ? gc : undefined") as
    | ((options?: { type: "minor" }) => void)
    | undefined;
  v8.setFlagsFromString("--no-expose-gc");
  // Collections for the sake of tensors are frequent and small: waking other threads for each takes longer than the work,
  // and where every core has a rank of its own they wait for each other.
  v8.setFlagsFromString("--no-parallel-scavenge");
  const minor = { type: "minor" } as const;
  // Without options it is the full one. In Node 20, `{ type: "major" }` is a minor one as well.
  return gc ? (full) => (full ? gc() : gc(minor)) : () => {};
}

// This package's files, as stack traces name them: compiled, or by source maps.
const ownFolders = ["./", "../src/"].map((folder) => new URL(folder, import.meta.url));
const ownPaths = ownFolders.flatMap((url) => [url.href, fileURLToPath(url)]);

/** Where in the user's code the running call comes from, without this package's own frames. */
function callerStack(): string {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = 50;
  const { stack = "" } = new Error();
  Error.stackTraceLimit = before;
  const frames = stack.split("\n").slice(1);
  return frames.filter((frame) => !ownPaths.some((path) => frame.includes(path))).join("\n");
}

let binding: NativeBinding | undefined;

/** internal: the addon, loaded once. Throws a `NotSupportedError` that says what was found and what to do when it cannot be loaded. */
export function native(): NativeBinding {
  return binding ?? load();
}

const preparations: ((binding: NativeBinding) => void)[] = [];

/** internal: runs when the addon is loaded in this thread, before its first use. */
export function onNativeLoad(prepare: (binding: NativeBinding) => void): void {
  if (binding) prepare(binding);
  else preparations.push(prepare);
}

/** internal: true once the addon is in the process. */
export function isNativeLoaded(): boolean {
  return binding !== undefined;
}

function load(): NativeBinding {
  const { addon: path, standIns } = locateAddon();
  const require = createRequire(import.meta.url);
  processAddon().widenHeap();
  processAddon().saveSignalHandlers();
  try {
    if (standIns !== null) require(standIns);
    // The addon's table of exports is a hash table to V8; behind a prototype its members become constants of the code.
    binding = Object.create(require(path) as NativeBinding) as NativeBinding;
  } catch (error) {
    throw new NotSupportedError(`The native addon could not be loaded from ${path}: ${(error as Error).message}`, {
      code: "ERR_ADDON",
      hint: "Run `npm run setup` to build it for the LibTorch on this machine, `npx fabric doctor` to see what is missing.",
      cause: error,
    });
  } finally {
    processAddon().restoreSignalHandlers();
    processAddon().settleHeap();
  }
  binding.setup(makeError, collector(), callerStack, (text) => process.emitWarning(text, "AnomalyWarning"));
  for (const prepare of preparations) prepare(binding);
  return binding;
}
