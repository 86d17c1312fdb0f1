// The one message a failed job prints: which rank failed and how, its error first, then what became of the others.
import { constants } from "node:os";
import type { RankMessage, RankPhase } from "../environments/rank-channel.js";

/** internal: a rank at the end of the job, as the report needs it. */
export interface RankOutcome {
  rank: number;
  pid: number | undefined;
  phase: RankPhase;
  error: Omit<Extract<RankMessage, { type: "error" }>, "type"> | undefined;
  spawnError: Error | undefined;
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  /** The first signal that the launcher sent it. */
  sent: NodeJS.Signals | undefined;
  hasEnded: boolean;
}

const during: Record<RankPhase, string> = {
  starting: "before it called `fabric.launch()`",
  launched: "after `fabric.launch()`, before it met the other ranks",
  rendezvous: "while it waited for the other ranks",
  joined: "after it had joined the other ranks",
};

/** internal: the exit code of the job: the failing rank's own, 128 + n for signal n. */
export function exitCodeOf(outcome: RankOutcome): number {
  if (outcome.exitCode !== null && outcome.exitCode !== 0) return outcome.exitCode;
  if (outcome.signal && outcome.sent === undefined) return 128 + constants.signals[outcome.signal];
  return 1;
}

/**
 * internal: the message about `failed`, the first to fail, and the rest of the job. It ends with a newline. With `short` the error of the
 * rank is its first line only.
 */
export function failureReport(failed: RankOutcome, all: readonly RankOutcome[], { short = false } = {}): string {
  const parts = [headline(failed)];
  if (failed.error) parts.push(...[short ? failed.error.summary : failed.error.text.trimEnd()].filter(Boolean));
  const others = all.filter((outcome) => outcome.rank !== failed.rank).map(fate);
  if (others.length > 0) parts.push(`The other ${others.length === 1 ? "rank" : "ranks"}: ${others.join("; ")}.`);
  return `${parts.join("\n")}\n`;
}

function name(outcome: RankOutcome): string {
  return outcome.pid === undefined ? `rank ${outcome.rank}` : `rank ${outcome.rank} (pid ${outcome.pid})`;
}

function headline(failed: RankOutcome): string {
  const who = `R${name(failed).slice(1)}`;
  if (failed.spawnError) return `${who} could not be started: ${failed.spawnError.message}`;
  if (failed.error) return `${who} failed with an uncaught error ${during[failed.phase]}; the job has ended.`;
  if (failed.signal)
    return `${who} was killed by ${failed.signal} ${during[failed.phase]}; the job has ended.${advice(failed.signal)}`;
  if (failed.exitCode === 0) {
    return (
      `${who} ended with exit code 0 ${during[failed.phase]}, which were waiting for it; the job has ended.\n` +
      "Every rank has to come as far as the others: check for an early return or `process.exit()` that only some ranks reach."
    );
  }
  const hint = failed.exitCode === 13 ? "\nCode 13 is Node's: an `await` at the top level never came back." : "";
  return `${who} ended with exit code ${failed.exitCode} ${during[failed.phase]}; the job has ended.${hint}`;
}

function advice(signal: NodeJS.Signals): string {
  switch (signal) {
    case "SIGKILL":
      return "\nThe launcher did not send it. If the machine ran out of memory, `dmesg` names this process.";
    case "SIGSEGV":
    case "SIGABRT":
    case "SIGBUS":
    case "SIGILL":
    case "SIGFPE":
      return "\nThis is a crash in native code.";
    default:
      return "";
  }
}

function fate(outcome: RankOutcome): string {
  const who = name(outcome);
  if (outcome.spawnError) return `${who} could not be started either`;
  if (!outcome.hasEnded) return `${who} did not end, not even by SIGKILL`;
  if (outcome.error && !outcome.error.secondary) return `${who} failed as well (${outcome.error.summary})`;
  if (outcome.sent) return `${who} was ended by the launcher`;
  if (outcome.error) return `${who} failed as a consequence`;
  if (outcome.signal) return `${who} was killed by ${outcome.signal}`;
  if (outcome.exitCode !== 0) return `${who} ended with exit code ${outcome.exitCode}`;
  return `${who} had ended with exit code 0`;
}
