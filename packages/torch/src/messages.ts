// The `messages` namespace: what packages on top of this one word their own errors with.
export { describe } from "./check.js";
export { closeNames, closestName } from "./close-names.js";
