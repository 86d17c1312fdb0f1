// Results that are the same in every run, or faster: what the engine and cuDNN may choose.
import { typeError } from "./check.js";
import { native } from "./native.js";

/** Options of `useDeterministicAlgorithms`. */
export interface DeterministicOptions {
  /** Warn where there is no deterministic algorithm, instead of throwing (default false). */
  warnOnly?: boolean | undefined;
}

/**
 * From now on operators use only algorithms that give the same result for the same input on the same machine; one that has none throws.
 * Some operators become slower. On CUDA matrix products also need `CUBLAS_WORKSPACE_CONFIG=:4096:8` in the environment.
 * PyTorch: `torch.use_deterministic_algorithms`.
 */
export function useDeterministicAlgorithms(mode: boolean, options: DeterministicOptions = {}): void {
  if (typeof mode !== "boolean") throw typeError("mode", "a boolean", mode);
  if (typeof options !== "object" || options === null) throw typeError("options", "{ warnOnly: true }", options);
  const { warnOnly = false } = options;
  if (typeof warnOnly !== "boolean") throw typeError("warnOnly", "a boolean", warnOnly);
  native().setFlag("deterministic", mode);
  native().setFlag("deterministicWarnOnly", warnOnly);
}

/** True after `useDeterministicAlgorithms(true)`. */
export function areDeterministicAlgorithmsEnabled(): boolean {
  return native().getFlag("deterministic");
}

/** True when what is not deterministic only warns. */
export function isDeterministicAlgorithmsWarnOnlyEnabled(): boolean {
  return native().getFlag("deterministicWarnOnly");
}

function flag(name: string, label: string): PropertyDescriptor {
  return {
    enumerable: true,
    get: () => native().getFlag(name),
    set: (value: unknown) => {
      if (typeof value !== "boolean") throw typeError(label, "a boolean", value);
      native().setFlag(name, value);
    },
  };
}

/** What cuDNN may do, on CUDA devices. */
export interface CudnnSettings {
  /** Use cuDNN at all (default true). */
  enabled: boolean;
  /** Try several algorithms for a shape that is new and keep the fastest (default false): good where shapes stay the same. */
  benchmark: boolean;
  /** Only algorithms that give the same result in every run (default false). */
  deterministic: boolean;
}

/** Settings of the libraries under LibTorch. PyTorch: `torch.backends`. */
export const backends: { readonly cudnn: CudnnSettings } = Object.freeze({
  cudnn: Object.seal(
    Object.defineProperties({} as CudnnSettings, {
      enabled: flag("cudnnEnabled", "backends.cudnn.enabled"),
      benchmark: flag("cudnnBenchmark", "backends.cudnn.benchmark"),
      deterministic: flag("cudnnDeterministic", "backends.cudnn.deterministic"),
    }),
  ),
});
