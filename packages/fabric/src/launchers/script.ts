// Runs the same program once for each rank. The process that the user started only supervises: it is no rank, never loads LibTorch,
// never comes back from `launch()`, and ends with the job. What stands before `launch()` runs in it, too.
import { UsageError } from "@fabric-ts/torch/base";
import type { ClusterEnvironment } from "../environments/cluster-environment.js";
import { Launcher } from "./launcher.js";
import { runLocalJob } from "./local-job.js";
import { checkIsNoRank, placeOf, runsInPlace } from "./place.js";
import { preload, programCommand } from "./program.js";

/** Launches by running the program again, `numProcesses` times on each of `numNodes` machines. */
export class ScriptLauncher extends Launcher {
  readonly isInteractiveCompatible = false;
  readonly #environment: ClusterEnvironment;
  readonly #numProcesses: number;
  readonly #numNodes: number;
  #hasLaunched = false;

  constructor(environment: ClusterEnvironment, numProcesses: number, numNodes = 1) {
    super();
    this.#environment = environment;
    this.#numProcesses = numProcesses;
    this.#numNodes = numNodes;
  }

  /**
   * In a rank, under a cluster's own launcher and with a single process: runs `fn` here. Otherwise starts the ranks and never
   * resolves: the process ends with the first failing rank's exit code (128 + n for signal n), or 0.
   */
  async launch<A extends unknown[], T>(fn: (...args: A) => T | Promise<T>, ...args: A): Promise<T> {
    this.#environment.validateSettings(this.#numProcesses, this.#numNodes);
    if (runsInPlace(this.#environment, this.#numProcesses, this.#numNodes)) return await fn(...args);
    this.#checkMayLaunch();
    this.#hasLaunched = true;
    const end = await runLocalJob({
      ...placeOf(this.#environment, this.#numProcesses, this.#numNodes),
      command: (localRank) => programCommand(localRank, preload),
    });
    process.exit(end.code);
  }

  #checkMayLaunch(): void {
    if (this.#hasLaunched) throw new UsageError("The launcher can only create subprocesses once.");
    checkIsNoRank(this.#environment);
  }
}
