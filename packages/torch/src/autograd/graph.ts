// The `autograd.graph` namespace.
export { savedTensorsHooks, saveOnCpu } from "./saved-tensors.js";
