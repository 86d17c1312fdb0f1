// The types of what `setup` and `setupDataLoaders` take and return: exact classes in, exact classes out.
import type { nn, optim } from "@fabric-ts/torch";
import type { AnyDataLoader, FabricDataLoader } from "./dataloader.js";
import type { FabricModule } from "./module.js";
import type { FabricOptimizer } from "./optimizer.js";

/** Options of `fabric.setup`, its last argument. */
export interface SetupOptions {
  /** Move the model to `fabric.device` (default true). */
  moveToDevice?: boolean | undefined;
  /** For a model from `torch.compile`: set the model inside up and compile what the strategy makes of it (default true). */
  reapplyCompile?: boolean | undefined;
}

/** Options of `fabric.setup` with a learning-rate scheduler, which comes back as the last of the results. */
export interface SetupOptionsWithScheduler<S> extends SetupOptions {
  /** The scheduler of the optimizer's learning rate. */
  scheduler: S;
}

/** Options of `fabric.setupDataLoaders`, its last argument. */
export interface SetupDataLoadersOptions {
  /** Give each process its share of the samples (default true). */
  useDistributedSampler?: boolean | undefined;
  /** Move batches to `fabric.device` (default true). */
  moveToDevice?: boolean | undefined;
}

/** At least one optimizer. */
export type Optimizers = readonly [optim.Optimizer, ...optim.Optimizer[]];
/** At least one data loader. */
export type DataLoaders = readonly [AnyDataLoader, ...AnyDataLoader[]];

/** The wrapped optimizers, in order. */
export type WrappedOptimizers<O extends Optimizers> = {
  -readonly [I in keyof O]: O[I] extends optim.Optimizer ? FabricOptimizer<O[I]> : never;
};
/** The wrapped data loaders, in order. */
export type WrappedDataLoaders<L extends DataLoaders> = {
  -readonly [I in keyof L]: L[I] extends AnyDataLoader ? FabricDataLoader<L[I]> : never;
};
/** The wrapped model followed by the wrapped optimizers. */
export type SetupResult<M extends nn.AnyModule, O extends Optimizers> = [FabricModule<M>, ...WrappedOptimizers<O>];
