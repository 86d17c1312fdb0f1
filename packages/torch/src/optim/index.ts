// Optimizers.
export { Adadelta, type AdadeltaOptions } from "./adadelta.js";
export { Adagrad, type AdagradOptions } from "./adagrad.js";
export { Adam, type AdamGroup, type AdamOptions } from "./adam.js";
export { Adamax, type AdamaxOptions } from "./adamax.js";
export { AdamW } from "./adamw.js";
export { ASGD, type ASGDOptions } from "./asgd.js";
export { LBFGS, type LBFGSOptions } from "./lbfgs.js";
export * from "./lr-scheduler/index.js";
export * as lrScheduler from "./lr-scheduler/index.js";
export { NAdam, type NAdamOptions } from "./nadam.js";
export { type ImplementationOptions, Optimizer, type OptimizerHook, type OptimizerStateDict } from "./optimizer.js";
export type { ParamGroup, ParamGroupInput, ParamsInput } from "./param-group.js";
export { RAdam, type RAdamOptions } from "./radam.js";
export { RMSprop, type RMSpropOptions } from "./rmsprop.js";
export { Rprop, type RpropOptions } from "./rprop.js";
export { SGD, type SGDGroup, type SGDOptions } from "./sgd.js";
export { SparseAdam, type SparseAdamOptions } from "./sparse-adam.js";
export * as swaUtils from "./swa-utils/index.js";
