// `nn.parallel`: modules that train on several devices or in several processes, and how these talk to each other about gradients.
export {
  allReduceHook,
  bf16CompressHook,
  bf16CompressWrapper,
  fp16CompressHook,
  fp16CompressWrapper,
} from "./comm-hooks.js";
export { DataParallel, type DataParallelOptions } from "./data-parallel.js";
export { DistributedDataParallel, type DistributedDataParallelOptions } from "./distributed-data-parallel.js";
export { type CommHook, GradBucket, PendingTensor } from "./grad-bucket.js";
export { type PowerSGDOptions, PowerSGDState, powerSGDHook } from "./power-sgd.js";
