// Everything that `@fabric-ts/fabric` offers.

export {
  CheckpointError,
  ConfigurationError,
  DataLoaderError,
  DistributedError,
  FabricError,
  NotSupportedError,
  TorchError,
  UsageError,
} from "@fabric-ts/torch";
export { Accelerator, type DevicesInput } from "./accelerators/accelerator.js";
export { CPUAccelerator } from "./accelerators/cpu.js";
export { CUDAAccelerator } from "./accelerators/cuda.js";
export { MPSAccelerator } from "./accelerators/mps.js";
export { type AcceleratorName, AcceleratorRegistry, acceleratorRegistry } from "./accelerators/registry.js";
export { findUsableCudaDevices } from "./accelerators/usable-cuda-devices.js";
export { EarlyStopping, type EarlyStoppingOptions, type EarlyStoppingState } from "./callbacks/early-stopping.js";
export { type CallbackFactory, registerCallbackFactory } from "./callbacks/factories.js";
export type { MetricsHook } from "./callbacks/facts.js";
export { FiniteGuard, type FiniteGuardOptions, NonFiniteError } from "./callbacks/finite-guard.js";
export { GradientAccumulationScheduler } from "./callbacks/gradient-accumulation-scheduler.js";
export type {
  BatchFacts,
  Callback,
  EpochFacts,
  ExceptionFacts,
  HookArguments,
  HookFacts,
  HookName,
  Metrics,
  OptimizerStepFacts,
  RunFacts,
  SetupFacts,
} from "./callbacks/hooks.js";
export { LearningRateMonitor, type LearningRateMonitorOptions } from "./callbacks/learning-rate-monitor.js";
export type { ProgressStream } from "./callbacks/live-line.js";
export {
  ModelCheckpoint,
  type ModelCheckpointOptions,
  type ModelCheckpointState,
} from "./callbacks/model-checkpoint.js";
export type { MonitorMode } from "./callbacks/monitored-metric.js";
export { ProgressBar, type ProgressBarOptions } from "./callbacks/progress-bar.js";
export { AsyncCheckpointIO } from "./checkpoint/async-checkpoint-io.js";
export { CheckpointIO, type CheckpointLoadOptions, type CheckpointPath } from "./checkpoint/checkpoint-io.js";
export { lazyLoad, materializeTensors, moveStateInto } from "./checkpoint/lazy.js";
export type { PerRankStateful } from "./checkpoint/per-rank.js";
export { SafetensorsCheckpointIO } from "./checkpoint/safetensors-checkpoint-io.js";
export { loadShardedCheckpoint } from "./checkpoint/sharded.js";
export type { CheckpointFilter, Stateful } from "./checkpoint/state.js";
export { TorchCheckpointIO } from "./checkpoint/torch-checkpoint-io.js";
export type { Collected, CollectedParts } from "./collectives/collect.js";
export { Collective } from "./collectives/collective.js";
export { gatherAllTensors } from "./collectives/gather-all-tensors.js";
export type { ReduceOp } from "./collectives/reduce-op.js";
export { SingleDeviceCollective } from "./collectives/single-device-collective.js";
export {
  TorchCollective,
  type TorchGroupOptions,
  type TorchInitOptions,
  type TorchSetupOptions,
} from "./collectives/torch-collective.js";
export type { ConnectorOptions, Plugin } from "./connector.js";
export { ClusterEnvironment } from "./environments/cluster-environment.js";
export { KubeflowEnvironment } from "./environments/kubeflow.js";
export { LightningEnvironment } from "./environments/lightning.js";
export { LSFEnvironment } from "./environments/lsf.js";
export { MPIEnvironment } from "./environments/mpi.js";
export { SLURMEnvironment, type SLURMEnvironmentOptions } from "./environments/slurm.js";
export { TorchElasticEnvironment } from "./environments/torchelastic.js";
export { Fabric, type FabricOptions } from "./fabric.js";
export { type FileInfo, type FileReader, FileSystem, type FileWriter } from "./filesystems/file-system.js";
export { HttpFileSystem, type HttpFileSystemOptions } from "./filesystems/http.js";
export { LocalFileSystem } from "./filesystems/local.js";
export { type FileSystemMaker, fileSystemOf, registerFileSystem } from "./filesystems/registry.js";
export { S3FileSystem, type S3FileSystemOptions } from "./filesystems/s3.js";
export type { S3ClientLike } from "./filesystems/s3-client.js";
export type { FunctionReference } from "./launchers/function-reference.js";
export { Launcher } from "./launchers/launcher.js";
export { ScriptLauncher } from "./launchers/script.js";
export { SpawnLauncher } from "./launchers/spawn.js";
export { ConsoleLogger, type ConsoleLoggerOptions, type ConsoleStream } from "./loggers/console-logger.js";
export { CSVExperiment, CSVLogger, type CSVLoggerOptions } from "./loggers/csv-logger.js";
export type { FileLoggerOptions } from "./loggers/file-logger.js";
export { JSONLinesLogger, type JSONLinesLoggerOptions } from "./loggers/json-lines-logger.js";
export type { LogOptions } from "./loggers/log-options.js";
export { Logger } from "./loggers/logger.js";
export { addPrefix } from "./loggers/metrics.js";
export { MLflowLogger, type MLflowLoggerOptions } from "./loggers/mlflow/mlflow-logger.js";
export {
  convertParams,
  flattenDict,
  jsonSerializable,
  sanitizeCallableParams,
  sanitizeParams,
} from "./loggers/parameters.js";
export { dummyExperiment, rankZeroExperiment } from "./loggers/rank-zero-experiment.js";
export { maskSecrets } from "./loggers/secrets.js";
export type { DataFormat } from "./loggers/tensorboard/image.js";
export { type Scalar, SummaryWriter, type SummaryWriterOptions } from "./loggers/tensorboard/summary-writer.js";
export { TensorBoardLogger, type TensorBoardLoggerOptions } from "./loggers/tensorboard/tensorboard-logger.js";
export { BitsandbytesPrecision } from "./precision/bitsandbytes.js";
export { DoublePrecision } from "./precision/double.js";
export { GradScaler, type GradScalerOptions, type GradScalerState } from "./precision/grad-scaler.js";
export { HalfPrecision } from "./precision/half.js";
export { MixedPrecision } from "./precision/mixed.js";
export type { PrecisionInput, PrecisionName } from "./precision/names.js";
export { type BackwardOptions, Precision } from "./precision/precision.js";
export { TransformerEnginePrecision } from "./precision/transformer-engine.js";
export type { BackwardSyncControl } from "./strategies/backward-sync-control.js";
export { DataParallelStrategy, type DataParallelStrategyOptions } from "./strategies/data-parallel.js";
export { DDPStrategy, type DDPStrategyOptions } from "./strategies/ddp.js";
export { DeepSpeedStrategy } from "./strategies/deepspeed.js";
export { ParallelStrategy, type ParallelStrategyOptions } from "./strategies/parallel.js";
export { type StrategyName, StrategyRegistry, strategyRegistry } from "./strategies/registry.js";
export { SingleDeviceStrategy } from "./strategies/single-device.js";
export {
  type AllReduceOptions,
  type BarrierOptions,
  type DistributedSamplerOptions,
  type GatherOptions,
  type LoadOptions,
  Strategy,
  type StrategyOptions,
} from "./strategies/strategy.js";
export {
  type ApplyOptions,
  applyToCollection,
  type DataclassOptions,
  type LeafType,
  registerDataclass,
} from "./utilities/apply-to-collection.js";
export { AttributeDict } from "./utilities/attribute-dict.js";
export { replaceClasses } from "./utilities/class-replacement.js";
export { suggestedMaxNumWorkers } from "./utilities/cpu.js";
export { hasIterableDataset, hasLen, sizedLen } from "./utilities/dataset-length.js";
export { DeviceDtypeModule } from "./utilities/device-dtype-module.js";
export { DistributedSamplerWrapper } from "./utilities/distributed-sampler.js";
export { getAvailableFlops, measureFlops } from "./utilities/flops.js";
export {
  hasMetaDeviceParametersOrBuffers,
  materialize,
  materializeMetaTensors,
} from "./utilities/materialize.js";
export { moveDataToDevice } from "./utilities/move-data-to-device.js";
export { optimizerToDevice } from "./utilities/optimizer-to-device.js";
export {
  type RankZeroOnly,
  rankPrefixedMessage,
  rankZeroDebug,
  rankZeroDeprecation,
  rankZeroInfo,
  rankZeroOnly,
  rankZeroWarn,
  WarningCache,
} from "./utilities/rank-zero.js";
export type { Maker, RegisterOptions, Registry } from "./utilities/registry.js";
export { collectRngStates, RngState, type RngStates, setRngStates } from "./utilities/rng-state.js";
export { resetSeed, type SeedOptions, seedEverything } from "./utilities/seed.js";
export { isSharedFilesystem } from "./utilities/shared-filesystem.js";
export {
  SpikeDetection,
  type SpikeDetectionOptions,
  type SpikeFacts,
  TrainingSpikeException,
} from "./utilities/spike-detection.js";
export {
  Throughput,
  ThroughputMonitor,
  type ThroughputOptions,
  type ThroughputUpdate,
} from "./utilities/throughput.js";
export {
  type CaughtWarning,
  catchWarnings,
  disablePossibleUserWarnings,
  type WarningKind,
} from "./utilities/warnings.js";
export { workerInitFunction, workerSeeds } from "./utilities/worker-seed.js";
export type { AnyDataLoader, BatchOf } from "./wrappers/dataloader.js";
export { FabricDataLoader } from "./wrappers/dataloader.js";
export { FabricModule, type FabricModuleMembers, type ForwardMethodName } from "./wrappers/module.js";
export { FabricOptimizer } from "./wrappers/optimizer.js";
export type { SetupDataLoadersOptions, SetupOptions, SetupOptionsWithScheduler } from "./wrappers/setup-types.js";
export { isWrapped, unwrapObjects } from "./wrappers/wrap.js";
