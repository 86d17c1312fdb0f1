// What `import ... from "@fabric-ts/torch/base"` offers: errors, their texts and the control of processes. It loads no other module and
// never LibTorch, so that a process which only starts others is ready in no time. All of it is in "@fabric-ts/torch" as well.
export { builtins } from "./builtins.js";
export * from "./errors.js";
export * as messages from "./messages.js";
export * as processControl from "./process.js";
