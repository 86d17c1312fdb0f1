// Modules of Node's own that take a millisecond or two to load. Taken from here they are loaded when they are first needed, not at each
// start of a process that may never need them.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** internal: some of Node's modules, each loaded at its first use. */
export const builtins = {
  get childProcess() {
    return require("node:child_process") as typeof import("node:child_process");
  },
  get crypto() {
    return require("node:crypto") as typeof import("node:crypto");
  },
  get net() {
    return require("node:net") as typeof import("node:net");
  },
  get tty() {
    return require("node:tty") as typeof import("node:tty");
  },
  get v8() {
    return require("node:v8") as typeof import("node:v8");
  },
  get vm() {
    return require("node:vm") as typeof import("node:vm");
  },
  get zlib() {
    return require("node:zlib") as typeof import("node:zlib");
  },
};
