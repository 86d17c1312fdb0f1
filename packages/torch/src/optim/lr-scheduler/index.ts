// `optim.lrScheduler`: learning-rate schedulers.
export {
  CosineAnnealingLR,
  type CosineAnnealingLROptions,
  CosineAnnealingWarmRestarts,
  type WarmRestartsOptions,
} from "./cosine-annealing-lr.js";
export { CyclicLR, type CyclicLROptions } from "./cyclic-lr.js";
export { type EpochFunction, LambdaLR, MultiplicativeLR } from "./lambda-lr.js";
export {
  ConstantLR,
  type ConstantLROptions,
  LinearLR,
  type LinearLROptions,
  PolynomialLR,
  type PolynomialLROptions,
} from "./linear-lr.js";
export { LRScheduler, type SchedulerOptions, type SchedulerStateDict } from "./lr-scheduler.js";
export { OneCycleLR, type OneCycleLROptions } from "./one-cycle-lr.js";
export { ReduceLROnPlateau, type ReduceLROnPlateauOptions } from "./reduce-lr-on-plateau.js";
export { ChainedScheduler, SequentialLR } from "./sequential-lr.js";
export { ExponentialLR, MultiStepLR, StepLR, type StepLROptions } from "./step-lr.js";
