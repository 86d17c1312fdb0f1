// The `utils` namespace. `utils.data` is `data`, where Python has it.

export * as data from "../data/index.js";
export { type CheckpointOptions, checkpoint } from "./checkpoint.js";
export { checkpointSequential } from "./checkpoint-sequential.js";
