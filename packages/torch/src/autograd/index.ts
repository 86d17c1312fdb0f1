// The `autograd` namespace.
export { type DetectAnomalyOptions, detectAnomaly } from "./anomaly.js";
export { type BackwardOptions, backward, type GradOptions, grad } from "./backward.js";
export { BackwardGuard } from "./backward-guard.js";
export * as forwardAd from "./forward-ad.js";
export { Function, type FunctionContext, type Gradient, onceDifferentiable } from "./function.js";
export * as functional from "./functional.js";
export { enableGrad, inferenceMode, isGradEnabled, noGrad, setGradEnabled } from "./grad-mode.js";
export { type GradCheckOptions, gradcheck, gradgradcheck } from "./gradcheck.js";
export * as graph from "./graph.js";
export type { HookHandle } from "./hooks.js";
