// Looks at what the ranks of a job show, and says on standard error who keeps the others waiting and who does not run any more. It ends
// nothing: a rank may be slow for a good reason.
import { placeOf } from "./failure-report.js";
import type { RankProcess } from "./rank-process.js";
import { processFacts } from "./system-facts.js";

const defaultLateMs = 30_000;
/** A rank whose heart has not beaten for so long does not run. It beats once a second. */
const silentAtMost = 10_000;
const silentAtLeast = 3000;

/** internal: the watch over one attempt of a job. */
export class RankWatch {
  readonly #ranks: readonly RankProcess[];
  readonly #say: (text: string) => void;
  readonly #lateMs: number;
  readonly #silentMs: number;
  readonly #silent = new Set<RankProcess>();
  readonly #late = new Set<RankProcess>();
  #timer: NodeJS.Timeout | undefined;

  /** `ranks` may grow. */
  constructor(ranks: readonly RankProcess[], say: (text: string) => void, lateMs = lateAfterMs()) {
    this.#ranks = ranks;
    this.#say = say;
    this.#lateMs = lateMs;
    this.#silentMs = Math.min(silentAtMost, Math.max(silentAtLeast, lateMs / 3));
  }

  start(): void {
    this.#timer = setInterval(() => this.#look(), Math.min(1000, Math.max(50, this.#lateMs / 8)));
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const alive = this.#ranks.filter((rank) => !rank.isOver);
    for (const rank of alive) rank.observe();
    for (const rank of alive) this.#lookForHeart(rank);
    this.#lookForLate(alive);
  }

  #lookForHeart(rank: RankProcess): void {
    if (rank.silentMs < this.#silentMs) {
      if (this.#silent.delete(rank)) this.#say(`${name(rank)} runs again.\n`);
      return;
    }
    if (this.#silent.has(rank)) return;
    this.#silent.add(rank);
    const duration = seconds(rank.silentMs);
    this.#say(
      isStopped(rank)
        ? `${name(rank)} has been stopped by a signal (SIGSTOP, or a debugger) for ${duration}; the others will wait for it. \`kill -CONT ${rank.pid}\` lets it go on.\n`
        : `${name(rank)} has shown no sign of life for ${duration}: the machine may be out of memory, or far too busy.\n`,
    );
  }

  #lookForLate(alive: readonly RankProcess[]): void {
    for (const rank of this.#late) if (rank.unchangedMs < this.#lateMs || !rank.isWaiting) this.#late.delete(rank);
    const waiting = alive.filter((rank) => rank.isWaiting && rank.unchangedMs >= this.#lateMs);
    const others = alive.filter((rank) => !rank.isWaiting);
    // Whoever does not run has been named.
    const culprits = others.filter((rank) => !this.#silent.has(rank));
    if (waiting.length === 0 || culprits.length === 0 || waiting.every((rank) => this.#late.has(rank))) return;
    for (const rank of waiting) this.#late.add(rank);
    const longest = Math.max(...waiting.map((rank) => rank.unchangedMs));
    const who = waiting.length === 1 ? `Rank ${waiting[0]?.rank} has` : `${waiting.length} ranks have`;
    const where = culprits.slice(0, 4).map((rank) => `${name(rank).replace("R", "r")} is ${placeOf(rank)}`);
    if (culprits.length > 4) where.push(`and ${culprits.length - 4} more`);
    this.#say(`${who} been waiting for ${seconds(longest)}; not there yet: ${where.join(", ")}.\n`);
  }
}

/** internal: true when a signal has stopped the process. */
export function isStopped(rank: { pid: number | undefined }): boolean {
  return rank.pid !== undefined && /^[Tt]$/.test(processFacts(rank.pid)?.state ?? "");
}

// The ranks complain about a value that is none.
function lateAfterMs(): number {
  const value = Number(process.env.FABRIC_LATE_AFTER_MS);
  return value > 0 ? value : defaultLateMs;
}

function name(rank: RankProcess): string {
  return `Rank ${rank.rank} (pid ${rank.pid})`;
}

function seconds(milliseconds: number): string {
  return `${Math.round(milliseconds / 1000)} s`;
}
