// Optimizers.
export { Adam, type AdamGroup, type AdamOptions } from "./adam.js";
export { AdamW } from "./adamw.js";
export * from "./lr-scheduler/index.js";
export * as lrScheduler from "./lr-scheduler/index.js";
export { Optimizer, type OptimizerHook, type OptimizerStateDict } from "./optimizer.js";
export type { ParamGroup, ParamGroupInput, ParamsInput } from "./param-group.js";
export { SGD, type SGDGroup, type SGDOptions } from "./sgd.js";
