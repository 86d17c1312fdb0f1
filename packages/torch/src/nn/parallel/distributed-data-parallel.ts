// Training one model in several processes: each sees other data, and gradients are averaged during the backward pass by
// c10d's own reducer. The order of calls is that of PyTorch's class of the same name.
import { checkOptions, typeError } from "../../check.js";
import { type Context, runContext } from "../../context.js";
import {
  type DistributedBinding,
  distributedNative,
  type GroupHandle,
  type ReducerHandle,
} from "../../distributed/native.js";
import { getDefaultGroup, groupHandle, isInitialized, ProcessGroup } from "../../distributed/process-group.js";
import { ConfigurationError, UsageError } from "../../errors.js";
import { native } from "../../native.js";
import { handleOf, type Tensor } from "../../tensor.js";
import { type AnyModule, Module } from "../module.js";
import { isModule } from "../module-state.js";
import type { Parameter } from "../parameter.js";
import { nativeHooks } from "./comm-hooks.js";
import type { CommHook } from "./grad-bucket.js";
import { HookRunner } from "./hook-runner.js";
import { findTensors, replaceTensors } from "./output-tensors.js";

/** Options of `DistributedDataParallel`. */
export interface DistributedDataParallelOptions {
  /** The CUDA device of the module; nothing on the CPU. */
  deviceIds?: readonly number[] | null | undefined;
  /** Copy rank 0's buffers to all ranks before each forward pass that trains. Default: true. */
  broadcastBuffers?: boolean | undefined;
  /** Look for parameters without part in the outputs, which costs time in every pass. Default: false. */
  findUnusedParameters?: boolean | undefined;
  /** Gradients are averaged in buckets of this size, in MiB. Default: 25. */
  bucketCapMb?: number | undefined;
  /** Let `grad` share memory with the buckets. Default: false. */
  gradientAsBucketView?: boolean | undefined;
  /** Promise that every pass uses the same parameters in the same way. Default: false. */
  staticGraph?: boolean | undefined;
  /** Start from rank 0's parameters and buffers. Default: true; without it every rank has to start from the same values. */
  initSync?: boolean | undefined;
  /** The processes. Default: all. */
  processGroup?: ProcessGroup | null | undefined;
}

const optionNames = [
  "deviceIds",
  "broadcastBuffers",
  "findUnusedParameters",
  "bucketCapMb",
  "gradientAsBucketView",
  "staticGraph",
  "initSync",
  "processGroup",
];

// PyTorch's size of the messages in which parameters are first copied from rank 0.
const broadcastBytes = 250 * 1024 * 1024;

/**
 * Wraps a module for training in several processes. All ranks start from rank 0's parameters and buffers, and after
 * `backward` all have the average of their gradients. Every rank makes the same number of passes.
 *
 *     await distributed.initProcessGroup({ rank, worldSize, store });
 *     const model = new nn.parallel.DistributedDataParallel(new MyModel());
 *     lossOf(model(x)).backward();
 */
export class DistributedDataParallel<
  A extends unknown[] = [Tensor],
  R = Tensor,
  M extends Module<A, R> = Module<A, R>,
> extends Module<A, R> {
  /** The wrapped module. */
  readonly module: M;
  readonly #processGroup: ProcessGroup;
  readonly #parameters: readonly Parameter[];
  readonly #group: GroupHandle;
  readonly #reducer: ReducerHandle;
  readonly #broadcastBuffers: boolean;
  readonly #findUnused: boolean;
  readonly #staticGraph: boolean;
  #passes = 0;
  #averages = true;
  #syncsBuffers = true;
  #hasHook = false;

  constructor(module: M & Module<A, R>, options: DistributedDataParallelOptions = {}) {
    super();
    if (!isModule(module)) throw typeError("module", "a Module", module);
    checkOptions(options, optionNames, "new DistributedDataParallel(module, { findUnusedParameters: true })");
    const nested = module.modules().find((inner) => inner instanceof DistributedDataParallel);
    if (nested) {
      throw new UsageError("The module is wrapped in DistributedDataParallel already.", {
        hint: "Wrap the whole model once: gradients would be averaged twice.",
      });
    }
    const group = groupOf(options.processGroup);
    const parameters = trainedParameters(module);
    checkDevices(module, options.deviceIds);
    this.module = module;
    this.#processGroup = group;
    this.#parameters = parameters.map(({ parameter }) => parameter);
    this.#group = groupHandle(group);
    this.#broadcastBuffers = options.broadcastBuffers ?? true;
    this.#staticGraph = options.staticGraph ?? false;
    this.#findUnused = (options.findUnusedParameters ?? false) && !this.#staticGraph;
    const handles = parameters.map(({ parameter }) => handleOf(parameter));
    const names = parameters.map(({ name }) => name);
    binding().verifyModels(this.#group, handles, names);
    const everything = [...module.parameters(), ...module.buffers()];
    if (options.initSync ?? true) binding().broadcastTensors(this.#group, everything.map(handleOf), broadcastBytes, 0);
    this.#reducer = binding().createReducer(
      this.#group,
      handles,
      names,
      parameters.map(({ sparse }) => Number(sparse)),
      bucketBytes(options.bucketCapMb ?? 25),
      options.findUnusedParameters ?? false,
      options.gradientAsBucketView ?? false,
      this.#staticGraph,
    );
  }

  override forward(...args: A): R {
    const recording = native().isGradEnabled();
    const averages = recording && this.#averages;
    if (averages) this.#passes++;
    if (recording) binding().reducerBeforeForward(this.#reducer, averages);
    if (this.#syncsBuffers && this.#broadcastBuffers) this.#copyBuffers();
    const output = this.module(...args);
    this.#syncsBuffers = averages;
    if (averages) {
      const outputs = this.#findUnused ? findTensors(output).map(handleOf) : [];
      binding().reducerBeforeBackward(this.#reducer, outputs);
    }
    return this.#throughSink(output);
  }

  /**
   * Leaves out the averaging: gradients of the passes inside only accumulate on each rank, and the next backward pass
   * outside averages them all. Forward passes have to be inside, too.
   *
   *     model.noSync(() => lossOf(model(x1)).backward());
   *     lossOf(model(x2)).backward();
   */
  noSync(): Context;
  noSync<T>(body: () => T): T;
  noSync<T>(body?: () => T): T | Context {
    const enter = () => {
      const before = this.#averages;
      this.#averages = false;
      binding().reducerAllowLocal(this.#reducer, 1);
      return () => {
        this.#averages = before;
        binding().reducerAllowLocal(this.#reducer, -1);
      };
    };
    return runContext("noSync", enter, body);
  }

  /** True when the next forward pass prepares averaging: outside of `noSync`. Settable, for wrappers of this class. */
  get requireBackwardGradSync(): boolean {
    return this.#averages;
  }
  set requireBackwardGradSync(value: boolean) {
    if (typeof value !== "boolean") throw typeError("requireBackwardGradSync", "a boolean", value);
    this.#averages = value;
  }

  /**
   * Lets `hook` average the gradients, at most once and before the first backward pass: `registerCommHook(null, fp16CompressHook)`. `state`
   * is what the hook gets.
   */
  registerCommHook<S>(state: S, hook: CommHook<S>): void {
    if (typeof hook !== "function") {
      throw typeError("hook", "a function of (state, bucket)", hook, "Such as `nn.parallel.fp16CompressHook`.");
    }
    if (this.#hasHook) {
      throw new UsageError("This DistributedDataParallel module has a communication hook already.", {
        hint: "Register one, before training; put hooks into each other with a wrapper such as `fp16CompressWrapper`.",
      });
    }
    if (this.#passes > 0) {
      throw new UsageError("A communication hook cannot be registered after the first forward pass.", {
        hint: "Register it right after wrapping the module.",
      });
    }
    const native = nativeHooks.get(hook);
    if (native) binding().reducerCommHook(this.#reducer, native);
    else {
      const runner = new HookRunner(state, hook as CommHook, this.#processGroup, this.#parameters);
      binding().reducerCommHook(this.#reducer, "js", runner.run, runner.finish);
    }
    this.#hasHook = true;
  }

  #copyBuffers(): void {
    const buffers = this.module.buffers();
    if (buffers.length > 0) binding().broadcastTensors(this.#group, buffers.map(handleOf), broadcastBytes, 0);
  }

  /** Outputs that may stay out of the loss pass through a function that tells the reducer so. */
  #throughSink(output: R): R {
    const delay = this.#staticGraph && this.#passes === 1;
    if (!this.#findUnused && !delay) return output;
    const tensors = findTensors(output).filter((tensor) => tensor.gradFn !== null);
    if (tensors.length === 0) return output;
    const results = binding().reducerSink(this.#reducer, tensors.map(handleOf), delay);
    return replaceTensors(output, tensors, results);
  }
}

function binding(): DistributedBinding {
  return distributedNative();
}

function groupOf(given: ProcessGroup | null | undefined): ProcessGroup {
  if (given === null || given === undefined) {
    if (isInitialized()) return getDefaultGroup();
    throw new UsageError("DistributedDataParallel needs a process group, and none has been initialized.", {
      hint: "Call `await distributed.initProcessGroup({ rank, worldSize, store })` in every process first.",
    });
  }
  if (!(given instanceof ProcessGroup)) throw typeError("processGroup", "a ProcessGroup", given);
  return given;
}

interface TrainedParameter {
  name: string;
  parameter: Parameter;
  sparse: boolean;
}

/** The parameters whose gradients are averaged, each once. */
function trainedParameters(module: AnyModule): TrainedParameter[] {
  const seen = new Set<Parameter>();
  const found: TrainedParameter[] = [];
  for (const [path, owner] of module.namedModules()) {
    const sparse = (owner as { sparse?: unknown }).sparse === true;
    for (const [name, parameter] of owner.namedParameters(path, false)) {
      if (!parameter.requiresGrad || seen.has(parameter)) continue;
      seen.add(parameter);
      found.push({ name, parameter, sparse });
    }
  }
  if (found.length === 0) {
    throw new UsageError(
      `${module.constructor.name} has no parameter that requires a gradient, so there is nothing to average.`,
      {
        hint: "Use the module as it is, or set `requiresGrad` on what is to be trained before wrapping.",
      },
    );
  }
  return found;
}

function checkDevices(module: AnyModule, deviceIds: readonly number[] | null | undefined): void {
  const devices = new Set(module.parameters().map((parameter) => parameter.device as string));
  const types = new Set([...devices].map((device) => device.split(":")[0]));
  if (types.has("meta")) {
    throw new UsageError('The module has parameters on the device "meta", which hold no values.', {
      hint: "Give them memory with `toEmpty({ device })` and initialize them before wrapping.",
    });
  }
  if (types.size > 1) {
    throw new ConfigurationError(
      `The module's parameters are on devices of several types: ${[...devices].join(", ")}.`,
      {
        hint: "Move the whole module to devices of one type with `to(device)`.",
      },
    );
  }
  if (!deviceIds?.length) return;
  if (types.has("cpu") || devices.size > 1) {
    throw new ConfigurationError(
      `\`deviceIds\` is [${deviceIds.join(", ")}], but the parameters are on ${[...devices].join(", ")}.`,
      {
        hint: "Leave `deviceIds` out unless the module is on a single CUDA device.",
      },
    );
  }
}

function bucketBytes(megabytes: number): number {
  if (typeof megabytes !== "number") throw typeError("bucketCapMb", "a number of MiB", megabytes);
  if (!(megabytes > 0)) {
    throw new ConfigurationError(`\`bucketCapMb\` is ${megabytes}.`, {
      hint: "Give a size in MiB above 0; the default is 25.",
    });
  }
  return Math.floor(Math.min(megabytes, 2 ** 40) * 1024 * 1024);
}
