// Starts all ranks of one machine and watches them until the last has ended: output, signals, failures, exit code.
// It never loads LibTorch and never blocks, so it sees a failure at once whatever the ranks are doing.
import { constants } from "node:os";
import { exitCodeOf, failureReport, type RankOutcome } from "./failure-report.js";
import type { JobOutput } from "./job-output.js";
import type { Command } from "./program.js";
import { RankPage } from "./rank-page.js";
import { RankProcess } from "./rank-process.js";
import { isStopped, RankWatch } from "./rank-watch.js";
import { outOfMemoryKills } from "./system-facts.js";

/** internal: what is to be run. */
export interface Job {
  /** One for each rank of this machine, in order of their local ranks. */
  ranks: { rank: number; command: Command; env: Record<string, string | undefined> }[];
  /** How long the ranks have, after SIGINT, SIGTERM or SIGHUP, until they are killed. */
  graceMs: number;
  /** Where the ranks' output goes. */
  output: JobOutput;
  /** Whether the first rank gets standard input. */
  takesInput: boolean;
}

/** internal: how it ended. */
export interface JobEnd {
  /** The exit code that the supervising process should have. */
  code: number;
  /** The signal that ended the job. */
  signal: NodeJS.Signals | null;
  /** The rank to be reported, if one failed; those that it had waited for in vain; and all ranks. */
  failed: RankOutcome | null;
  silent: readonly RankOutcome[];
  ranks: readonly RankOutcome[];
}

/** internal: the message about a job that failed, empty otherwise. */
export function reportOf(end: JobEnd, options: { short?: boolean } = {}): string {
  return end.failed === null ? "" : failureReport(end.failed, end.ranks, { ...options, silent: end.silent });
}

/** After an error that a failing peer may have caused, the peer's own failure is waited for this long. */
const rootCauseMs = 400;
/** After the first error of a rank that has waited in vain, those of the others that did are waited for this long. */
const lastWaiterMs = 1600;
const lostCode = "ERR_PEER_LOST";
const lateCodes = ["ERR_TIMEOUT", "ERR_RANK_MISSING"];
/** How long the ranks have, after one has failed, until they are killed. */
const failureGraceMs = 1000;
/** A process that SIGKILL does not end (it waits for a dead disk, say) is not waited for longer than this. */
const unkillableMs = 1500;
const outputMs = 300;
const forwarded = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** internal: runs one job. */
export class Supervisor {
  readonly #job: Job;
  readonly #ranks: RankProcess[] = [];
  readonly #watch: RankWatch;
  readonly #oomKills = outOfMemoryKills();
  #failed: RankProcess | undefined;
  #silent: RankProcess[] = [];
  #suspect: RankProcess | undefined;
  #signal: (typeof forwarded)[number] | undefined;
  #isEnding = false;
  #isInterrupted = false;
  #timers: NodeJS.Timeout[] = [];
  #allEnded: () => void = () => {};

  constructor(job: Job) {
    this.#job = job;
    this.#watch = new RankWatch(this.#ranks, (text) => job.output.say(text));
  }

  /** True once a signal has come, be it after a failure: then nothing is to be started again. */
  get isInterrupted(): boolean {
    return this.#isInterrupted;
  }

  /** Runs the job to its end; `onEnd` is called while signals are still looked after. */
  async run(onEnd: (end: JobEnd) => void): Promise<JobEnd> {
    const allEnded = new Promise<void>((resolve) => (this.#allEnded = resolve));
    const onSignal = (signal: NodeJS.Signals): void => this.#onSignal(signal as (typeof forwarded)[number]);
    const onExit = (): void => this.killAll();
    for (const signal of forwarded) process.on(signal, onSignal);
    // The program's own code may end this process, too.
    process.on("exit", onExit);
    for (const spec of this.#job.ranks) {
      if (!this.#isEnding) this.#start(spec);
    }
    this.#watch.start();
    await allEnded;
    this.#watch.stop();
    for (const timer of this.#timers) clearTimeout(timer);
    this.killAll();
    await Promise.all(this.#ranks.map((rank) => rank.outputEnd(outputMs)));
    const end = this.#conclude();
    onEnd(end);
    await this.#job.output.drain();
    for (const signal of forwarded) process.off(signal, onSignal);
    process.off("exit", onExit);
    return end;
  }

  /** Ends every rank now, with what it started in its session. */
  killAll(): void {
    for (const rank of this.#ranks) rank.kill();
  }

  #start(spec: Job["ranks"][number]): void {
    const { output, takesInput } = this.#job;
    const isFirst = this.#ranks.length === 0;
    const rank = new RankProcess({
      ...spec,
      ownsInput: isFirst && takesInput,
      ownsTerminal: isFirst && output.isPlain && process.stdout.isTTY === true,
      output: output.of(spec.rank),
      page: RankPage.create(),
    });
    this.#ranks.push(rank);
    rank.on("error", () => {
      output.note(spec.rank, `${rank.error?.text.trimEnd() ?? ""}\n`);
      this.#onFailure(rank);
    });
    rank.on("phase", () => this.#findDeserter());
    rank.on("ended", () => {
      rank.memoryRanOut = outOfMemoryKills() !== this.#oomKills;
      if (rank.hasFailed) this.#onFailure(rank);
      else this.#findDeserter();
      this.#checkEnd();
    });
  }

  #checkEnd(): void {
    const isStarted = this.#isEnding || this.#ranks.length === this.#job.ranks.length;
    if (!isStarted || !this.#ranks.every((rank) => rank.hasEnded)) return;
    // Nobody is left who could still turn out to be the cause.
    if (this.#suspect && !this.#isEnding) this.#failSuspect(this.#suspect, this.#deserters(this.#suspect));
    else this.#allEnded();
  }

  #onFailure(rank: RankProcess): void {
    if (this.#isEnding) return;
    if (!rank.error?.secondary) {
      this.#fail(rank);
    } else if (!this.#suspect) {
      this.#suspect = rank;
      this.#after(rootCauseMs, () => this.#findSilent(rank, rootCauseMs));
    }
  }

  // Who is still at work when others have given up waiting kept them waiting.
  #findSilent(suspect: RankProcess, waitedMs: number): void {
    if (this.#isEnding) return;
    const isLate = this.#ranks.some((rank) => lateCodes.includes(rank.error?.code ?? ""));
    const silent = isLate ? this.#ranks.filter((rank) => !rank.isOver && rank.error === undefined) : [];
    if (silent.length > 1 && waitedMs < lastWaiterMs) {
      this.#after(rootCauseMs, () => this.#findSilent(suspect, waitedMs + rootCauseMs));
    } else this.#failSuspect(suspect, isLate ? silent : this.#deserters(suspect));
  }

  // Ranks that ended well, although others still needed them.
  #deserters(suspect: RankProcess): RankProcess[] {
    if (suspect.error?.code !== lostCode) return [];
    return this.#ranks.filter((rank) => rank.isOver && !rank.hasFailed).slice(0, 1);
  }

  #failSuspect(suspect: RankProcess, silent: RankProcess[]): void {
    this.#silent = silent;
    // The first to time out closes its connections, which others may notice and report before it has said so itself.
    this.#fail(this.#ranks.find((rank) => lateCodes.includes(rank.error?.code ?? "")) ?? suspect);
  }

  // A rank that ended well without ever meeting the others, who wait for it, will be waited for in vain.
  #findDeserter(): void {
    if (this.#isEnding || !this.#ranks.some((rank) => rank.phase === "rendezvous" && !rank.hasEnded)) return;
    const deserter = this.#ranks.find((rank) => rank.hasEnded && !rank.hasFailed && rank.phase !== "joined");
    if (deserter) this.#fail(deserter);
  }

  #fail(rank: RankProcess): void {
    if (this.#isEnding) return;
    this.#failed = rank;
    this.#isEnding = true;
    this.#watch.stop();
    for (const one of this.#ranks) one.freeze();
    for (const one of this.#silent) one.isStopped = isStopped(one);
    for (const other of this.#ranks) {
      // A stopped process hears of nothing else.
      if (other.isStopped) other.kill();
      else if (other !== rank) other.ask("SIGTERM");
    }
    this.#killAfter(failureGraceMs);
    this.#checkEnd();
  }

  #onSignal(signal: (typeof forwarded)[number]): void {
    this.#isInterrupted = true;
    if (this.#isEnding) {
      this.killAll();
      this.#after(unkillableMs, this.#allEnded);
      return;
    }
    this.#isEnding = true;
    this.#watch.stop();
    this.#signal = signal;
    for (const rank of this.#ranks) rank.ask(signal);
    this.#killAfter(this.#job.graceMs);
  }

  #killAfter(milliseconds: number): void {
    this.#after(milliseconds, () => {
      this.killAll();
      this.#after(unkillableMs, this.#allEnded);
    });
  }

  #after(milliseconds: number, action: () => void): void {
    this.#timers.push(setTimeout(action, milliseconds));
  }

  #conclude(): JobEnd {
    const ranks = this.#ranks;
    if (this.#signal) {
      // Errors that the signal led to are no news, unless a rank says more than that its peers are gone.
      const failed = ranks.find((rank) => rank.error && !rank.error.secondary) ?? null;
      return { code: 128 + constants.signals[this.#signal], signal: this.#signal, failed, silent: [], ranks };
    }
    const failed = this.#failed ?? null;
    return { code: failed === null ? 0 : exitCodeOf(failed), signal: null, failed, silent: this.#silent, ranks };
  }
}
