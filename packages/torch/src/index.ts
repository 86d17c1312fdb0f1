// Everything that `import * as torch from "@fabric-ts/torch"` offers.
import "./attributes.js";
import "./autograd/backward.js";
import "./autograd/hooks.js";
import "./conversion.js";
import "./indexing.js";
import "./printing.js";

export { type AutocastOptions, autocast, getAutocastDtype, isAutocastEnabled } from "./autocast.js";
export {
  enableGrad,
  inferenceMode,
  isGradEnabled,
  isInferenceModeEnabled,
  noGrad,
  setGradEnabled,
} from "./autograd/grad-mode.js";
export * as autograd from "./autograd/index.js";
export { builtins } from "./builtins.js";
export { e, inf, nan, pi } from "./constants.js";
export type { Context } from "./context.js";
export * from "./creation.js";
export * as cuda from "./cuda.js";
export * as data from "./data/index.js";
export {
  areDeterministicAlgorithmsEnabled,
  backends,
  type CudnnSettings,
  type DeterministicOptions,
  isDeterministicAlgorithmsWarnOnlyEnabled,
  useDeterministicAlgorithms,
} from "./determinism.js";
export { device } from "./device.js";
export * as distributed from "./distributed/index.js";
export * from "./dtype.js";
export * from "./errors.js";
export * as fft from "./fft.js";
export { FlopCounter } from "./flop-counter.js";
export type { Index } from "./indexing.js";
export * as linalg from "./linalg.js";
export * as memory from "./memory.js";
export { scope } from "./memory.js";
export * as messages from "./messages.js";
export { type CompileOptions, compile, OptimizedModule } from "./nn/compile.js";
export * as nn from "./nn/index.js";
export * from "./ops.generated.js";
export type { Scalar } from "./ops.js";
export { ops } from "./ops-namespace.js";
export * as optim from "./optim/index.js";
export { setPrintOptions } from "./printing.js";
export * as processControl from "./process.js";
export { Generator, getRngState, initialSeed, manualSeed, seed, setRngState } from "./random.js";
export * as serialization from "./serialization/index.js";
export { load, loadSync, safetensors, save, saveSync } from "./serialization/index.js";
export {
  getDefaultDevice,
  getDefaultDtype,
  getFloat32MatmulPrecision,
  getNumThreads,
  isEngineLoaded,
  type MatmulPrecision,
  setDefaultDevice,
  setDefaultDtype,
  setFloat32MatmulPrecision,
  setNumInteropThreads,
  setNumThreads,
  versions,
  withDevice,
  withDtype,
} from "./settings.js";
export * as special from "./special.js";
export { type NestedArray, Tensor, type TypedArray } from "./tensor.js";
export { type Unique, type UniqueOptions, unique } from "./unique.js";
export * as utils from "./utils/index.js";
export { blockDiag, broadcastTensors, cartesianProd, einsum, meshgrid } from "./variadic.js";
