// How many CPU threads and data-loading workers fit beside the other processes of this machine.
import os from "node:os";
import { ConfigurationError } from "@fabric-ts/torch/base";

/** internal: threads for each of `processes` ranks on this machine: at least 1. */
export function suggestedMaxNumThreads(processes: number): number {
  if (processes < 1) throw new ConfigurationError(`\`numProcesses\` should be >= 1, got ${processes}.`);
  return Math.max(1, Math.floor(os.availableParallelism() / processes));
}

/** Data-loading workers for each of `localWorldSize` ranks on this machine: one core a rank stays free; at least 1. */
export function suggestedMaxNumWorkers(localWorldSize: number): number {
  if (localWorldSize < 1) throw new ConfigurationError(`\`localWorldSize\` should be >= 1, got ${localWorldSize}.`);
  return Math.max(1, Math.floor(os.availableParallelism() / localWorldSize) - 1);
}
