// Datasets, samplers and the loader.
export { BatchSampler } from "./batch-sampler.js";
export { ConcatDataset } from "./concat-dataset.js";
export { DataLoader, type DataLoaderOptions } from "./data-loader.js";
export { Dataset, type DatasetLike, type IndexedDataset, IterableDataset } from "./dataset.js";
export { type Collated, defaultCollate, defaultConvert } from "./default-collate.js";
export { DistributedSampler, type DistributedSamplerOptions } from "./distributed-sampler.js";
export { RandomSampler, type RandomSamplerOptions } from "./random-sampler.js";
export { randomSplit } from "./random-split.js";
export { Sampler, type SamplerLike } from "./sampler.js";
export { SequentialSampler } from "./sequential-sampler.js";
export { Subset } from "./subset.js";
export { SubsetRandomSampler } from "./subset-random-sampler.js";
export { TensorDataset } from "./tensor-dataset.js";
export { WeightedRandomSampler } from "./weighted-random-sampler.js";
