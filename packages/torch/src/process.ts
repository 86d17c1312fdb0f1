// internal: the typed face of the small addon for launched processes. It works without LibTorch and never loads it; Fabric's
// launcher and its ranks are the users.
import { createRequire } from "node:module";
import { type CurrentBuild, currentBuild, locateProcessAddon } from "./native-locate.js";

/** internal: what fabric_process.node exports. */
export interface ProcessAddon {
  /** Makes room in the heap for a library with a great many small blocks, before it is loaded. */
  widenHeap(): void;
  /** Lets the heap grow as usual again. */
  settleHeap(): void;
  /** The process dies (SIGKILL) as soon as its parent does, and at once if `parentPid` is no longer its parent. */
  dieWithParent(parentPid: number): void;
  /** A file descriptor of new memory, 256 zeros, that a child process may be given; it has no name and is gone with its last user. */
  createPage(): number;
  /** Gives that descriptor back, without the warning of Node's `closeSync` for what Node did not open. */
  closePage(fd: number): void;
  /**
   * Such memory in the child; `fd` is closed. From now on the 32-bit words 1 and 2 are the heart of the process, which counts seconds even
   * while the JavaScript thread is blocked, and the most memory that it has had, in KiB.
   */
  mapPage(fd: number): ArrayBuffer;
  /** Ends the process without exit handlers and static destructors. */
  exitNow(code: number): never;
  /** A native thread ends the process with `code` after that time, whatever the JavaScript thread is doing then. */
  startExitTimer(milliseconds: number, code: number): void;
  /** Takes the exit timer back. */
  cancelExitTimer(): void;
  /**
   * Bounds the JavaScript handler of a signal, which must be installed already: after `graceMilliseconds`, or at a second such signal, the
   * process ends with 128 + `signal` even if the JavaScript thread is in a native call and the handler never ran.
   */
  limitSignal(signal: number, graceMilliseconds: number): void;
  /** The signal is counted from now on when it comes, even while the JavaScript thread computes. It has to have a JavaScript handler. */
  countSignal(signal: number): void;
  /** How often a counted signal has come. */
  signalCount(signal: number): number;
  /** Remembers the handlers of all signals. */
  saveSignalHandlers(): void;
  /** Puts the remembered handlers back where a library that was loaded meanwhile has replaced them. */
  restoreSignalHandlers(): void;
  /** When the calling thread ends, however it does, `array[index]` becomes 1. `array` lies over a SharedArrayBuffer. */
  markThreadEnd(array: Int32Array, index: number): void;
}

let addon: ProcessAddon | undefined;

/** internal: the addon, loaded once. Throws a `NotSupportedError` when it has not been built. */
export function processAddon(): ProcessAddon {
  addon ??= createRequire(import.meta.url)(locateProcessAddon()) as ProcessAddon;
  return addon;
}

/** internal: path of the addon, for a process that loads it before any package; undefined when it has not been built. */
export function processAddonPath(): string | undefined {
  try {
    return locateProcessAddon();
  } catch {
    return undefined;
  }
}

/** internal: what `npm run setup` built for, or the error that says why there is nothing. It loads nothing. */
export function addonBuild(): Omit<CurrentBuild, "process"> | Error {
  try {
    const { process: _, ...build } = currentBuild();
    return build;
  } catch (error) {
    return error as Error;
  }
}
