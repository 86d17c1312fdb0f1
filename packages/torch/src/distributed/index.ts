// `distributed`: several processes that work on one job.
export {
  allGather,
  allGatherStacked,
  allGatherSync,
  allGatherWithGrad,
  allReduce,
  allReduceSync,
  allToAll,
  type BarrierOptions,
  barrier,
  barrierSync,
  broadcast,
  broadcastSync,
  type CollectiveOptions,
  type DestinationOptions,
  gather,
  monitoredBarrier,
  type PointToPointOptions,
  type ReduceOptions,
  recv,
  reduce,
  reduceScatter,
  type SourceOptions,
  scatter,
  send,
} from "./collectives.js";
export { showWaiting } from "./native.js";
export { decodeObject, encodeObject } from "./object-codec.js";
export { allGatherObject, broadcastObject, gatherObject, scatterObject } from "./object-collectives.js";
export {
  type Backend,
  destroyProcessGroup,
  type GroupOptions,
  getBackend,
  getDefaultGroup,
  getGroups,
  getRank,
  getWorldSize,
  type InitOptions,
  initProcessGroup,
  initProcessGroupSync,
  isAvailable,
  isBackendAvailable,
  isInitialized,
  newGroup,
  ProcessGroup,
} from "./process-group.js";
export type { ReduceOp } from "./reduce-op.js";
export { FileStore, HashStore, PrefixStore, Store, type StoreWaitOptions, TCPStore } from "./stores.js";
