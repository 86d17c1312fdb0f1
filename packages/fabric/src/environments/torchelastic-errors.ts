// The file in which torchrun looks for the error of a rank, in the form of Python's `torch.distributed.elastic.multiprocessing.errors`.
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";

/**
 * torchrun takes the earliest failure for the cause. It dates killed ranks by the time at which it looks, up to five seconds later;
 * errors that a peer's end causes are dated after that.
 */
const secondaryDelay = 6;

let file: string | undefined;
let texts: typeof import("../launchers/preload.cjs");

/** internal: from now on an uncaught error is written to `path` before Node prints it and ends the process. */
export function recordErrors(path: string | undefined): void {
  if (path === undefined || path === "") return;
  texts ??= createRequire(import.meta.url)("../launchers/preload.cjs") as typeof texts;
  if (file === undefined) process.on("uncaughtExceptionMonitor", record);
  file = path;
}

function record(error: unknown): void {
  // Programs may handle their errors themselves; the monitor sees those too.
  if (process.listenerCount("uncaughtException") > 0 || process.hasUncaughtExceptionCaptureCallback()) return;
  const seconds = Math.floor(Date.now() / 1000) + (texts.isSecondary(error) ? secondaryDelay : 0);
  const extraInfo = { py_callstack: texts.errorText(error), timestamp: String(seconds) };
  try {
    writeFileSync(file as string, JSON.stringify({ message: { message: texts.errorSummary(error), extraInfo } }));
  } catch (cause) {
    process.stderr.write(`The error could not be written for torchrun: ${(cause as Error).message}\n`);
  }
}
