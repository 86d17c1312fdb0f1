// The `utils` namespace.
export { type CheckpointOptions, checkpoint } from "./checkpoint.js";
export { checkpointSequential } from "./checkpoint-sequential.js";
