// A job that its cluster is about to end: all ranks save at the same step, then rank zero puts the job back into the queue.
import { constants } from "node:os";
import { processControl } from "@fabric-ts/torch";
import { agree } from "../collectives/agree.js";
import type { Strategy } from "../strategies/strategy.js";
import { finishAll } from "../utilities/background.js";
import { rankZeroInfo } from "../utilities/rank-zero.js";
import type { ClusterEnvironment } from "./cluster-environment.js";

/** How long a rank waits for the end that a requeue brings. SLURM sends SIGTERM at once and kills after 30 seconds. */
const endMs = 60_000;

/** internal: notices the announcement from its construction on. */
export class Requeue {
  readonly #environment: ClusterEnvironment;
  readonly #signal: NodeJS.Signals;
  #handled = 0;

  private constructor(environment: ClusterEnvironment, signal: NodeJS.Signals) {
    this.#environment = environment;
    this.#signal = signal;
    // Keeps the signal's default away, which would end the process. It says nothing in time: a loop of steps does not let it run.
    if (!process.listeners(signal).includes(ignore)) process.on(signal, ignore);
    processControl.processAddon().countSignal(constants.signals[signal]);
  }

  /** Null where the cluster announces nothing. */
  static of(environment: ClusterEnvironment): Requeue | null {
    const signal = environment.endSignal;
    return signal === undefined ? null : new Requeue(environment, signal);
  }

  /** Where any rank has got the signal: saves on all of them, and does not return once the job has been put back into the queue. */
  async run(strategy: Strategy, save: () => unknown): Promise<void> {
    const count = processControl.processAddon().signalCount(constants.signals[this.#signal]);
    if (!(await strategy.reduceBooleanDecision(count > this.#handled, { all: false }))) return;
    // A signal that has reached other ranks first is still on its way to this one.
    this.#handled = Math.max(count, this.#handled + 1);
    rankZeroInfo(`${this.#signal}: the cluster will end this job. It is saved and put back into the queue.`);
    await agree(strategy, "Saving before the requeue", async () => {
      await save();
      // The end comes with the requeue: what is saved in the background has to be in its place before.
      await finishAll();
    });
    if (await this.#putBack(strategy)) await new Promise<never>(() => setTimeout(() => process.exit(0), endMs));
  }

  async #putBack(strategy: Strategy): Promise<boolean> {
    const isTaken = strategy.isGlobalZero && (await this.#environment.requeue());
    try {
      return await strategy.broadcast(isTaken);
    } catch (error) {
      // The requeue ends the ranks one after the other: this one may be next, and if not, something else has happened.
      if (isTaken) return true;
      await new Promise((resolve) => setTimeout(resolve, endMs / 10));
      throw error;
    }
  }
}

function ignore(): void {}
