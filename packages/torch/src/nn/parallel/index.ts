// `nn.parallel`: modules that train in several processes.
export { DistributedDataParallel, type DistributedDataParallelOptions } from "./distributed-data-parallel.js";
