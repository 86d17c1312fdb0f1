// The one message a failed job prints: which rank failed and how, its error first, then what became of the others.
import { constants } from "node:os";
import type { RankMessage, RankPhase } from "../environments/rank-channel.js";
import type { RankActivity } from "./rank-page.js";

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
  /** What it showed when it was last looked at, and for how long that had not changed. */
  seen?: RankActivity | undefined;
  unchangedMs?: number;
  /** Whether a signal had stopped it. */
  isStopped?: boolean;
  /** Whether the kernel had killed processes for want of memory. */
  memoryRanOut?: boolean;
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
 * rank is its first line only. `silent` are those that `failed` had waited for in vain, still at work or gone: they are at the bottom of it.
 */
export function failureReport(
  failed: RankOutcome,
  all: readonly RankOutcome[],
  { short = false, silent = [] }: { short?: boolean; silent?: readonly RankOutcome[] } = {},
): string {
  const parts =
    silent.length === 0
      ? [headline(failed)]
      : [...silentLines(silent), `${capital(name(failed))} gave up ${placeOf(failed)}:`];
  if (failed.error) parts.push(...[short ? failed.error.summary : failed.error.text.trimEnd()].filter(Boolean));
  const others = all.filter((outcome) => outcome.rank !== failed.rank && !silent.includes(outcome)).map(fate);
  if (others.length > 0) parts.push(`The other ${others.length === 1 ? "rank" : "ranks"}: ${others.join("; ")}.`);
  return `${parts.join("\n")}\n`;
}

/** internal: where a rank was, in words that go on a sentence about it. */
export function placeOf({ error, seen, phase }: Pick<RankOutcome, "error" | "seen" | "phase">): string {
  return error?.place || seen?.place || during[phase];
}

function name(outcome: RankOutcome): string {
  return outcome.pid === undefined ? `rank ${outcome.rank}` : `rank ${outcome.rank} (pid ${outcome.pid})`;
}

function capital(words: string): string {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}`;
}

function silentLines(silent: readonly RankOutcome[]): string[] {
  const where = (outcome: RankOutcome): string => {
    const seconds = Math.round((outcome.unchangedMs ?? 0) / 1000);
    return `${outcome.isStopped ? "stopped by a signal " : ""}${placeOf(outcome)}${seconds > 0 ? `, for ${seconds} s` : ""}`;
  };
  const [first] = silent;
  if (first?.hasEnded && first.exitCode === 0) return [headline(first)];
  if (first && silent.length === 1) {
    return [`${capital(name(first))} kept the others waiting, ${where(first)}; the job has ended.`];
  }
  const numbers = silent.map(({ rank }) => rank);
  return [
    `The ranks ${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)} kept the others waiting; the job has ended.`,
    ...silent.map((outcome) => `${capital(name(outcome))} was ${where(outcome)}.`),
  ];
}

function headline(failed: RankOutcome): string {
  const who = capital(name(failed));
  const place = placeOf(failed);
  if (failed.spawnError) return `${who} could not be started: ${failed.spawnError.message}${limit(failed.spawnError)}`;
  if (failed.error) return `${who} failed with an uncaught error ${place}; the job has ended.`;
  if (failed.signal)
    return `${who} was killed by ${failed.signal} ${place}; the job has ended.${advice(failed, failed.signal)}`;
  if (failed.exitCode === 0) {
    return (
      `${who} ended with exit code 0 ${place}, although the other ranks were waiting for it; the job has ended.\n` +
      "Every rank has to come as far as the others: check for an early return or `process.exit()` that only some ranks reach."
    );
  }
  const hint = failed.exitCode === 13 ? "\nCode 13 is Node's: an `await` at the top level never came back." : "";
  return `${who} ended with exit code ${failed.exitCode} ${place}; the job has ended.${hint}`;
}

function limit({ code }: NodeJS.ErrnoException): string {
  switch (code) {
    case "EMFILE":
      return "\nThe launcher opens some files for each rank: raise its limit, `ulimit -n 4096`, or start fewer ranks.";
    case "EAGAIN":
      return "\nThis user or this job may run no more processes: raise the limit, `ulimit -u`, or start fewer ranks.";
    default:
      return "";
  }
}

function advice({ seen, memoryRanOut }: RankOutcome, signal: NodeJS.Signals): string {
  switch (signal) {
    case "SIGKILL":
      return memoryRanOut
        ? `\nThe kernel has killed it, or another process at the same time, because memory ran out.${peak(seen)}`
        : `\nThe launcher did not send it. If the machine ran out of memory, \`dmesg\` names this process.${peak(seen)}`;
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

function peak(seen: RankActivity | undefined): string {
  const gibibytes = (seen?.peakKiB ?? 0) / 2 ** 20;
  return gibibytes < 0.1 ? "" : ` It had used ${gibibytes.toFixed(1)} GiB.`;
}

function fate(outcome: RankOutcome): string {
  const who = name(outcome);
  if (outcome.spawnError) return `${who} could not be started either`;
  if (!outcome.hasEnded) return `${who} did not end, not even by SIGKILL`;
  if (outcome.error && !outcome.error.secondary) return `${who} failed as well (${outcome.error.summary})`;
  const place = outcome.error?.place || outcome.seen?.place;
  if (outcome.sent) return `${who} was ended by the launcher${place ? ` ${place}` : ""}`;
  if (outcome.error) return `${who} failed as a consequence`;
  if (outcome.signal) return `${who} was killed by ${outcome.signal}`;
  if (outcome.exitCode !== 0) return `${who} ended with exit code ${outcome.exitCode}`;
  return `${who} had ended with exit code 0`;
}
