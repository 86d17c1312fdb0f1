// Which checkpoints are kept: the best by a score, or the newest. Only the bookkeeping; files are written and removed elsewhere.

/** internal: a checkpoint that is kept. */
export interface KeptCheckpoint {
  readonly path: string;
  /** Null where nothing is monitored. */
  readonly score: number | null;
}

/** internal: what decides. */
export interface KeepRule {
  /** How many are kept; -1 for all. */
  readonly topK: number;
  /** The newest is kept as well, however bad it is. */
  readonly keepsNewest: boolean;
  isBetter(score: number, other: number): boolean;
}

/** internal: the checkpoints there are, from the oldest to the newest. Never changed: `with` makes the next state. */
export class KeptCheckpoints {
  readonly #rule: KeepRule;
  readonly all: readonly KeptCheckpoint[];

  constructor(rule: KeepRule, all: readonly KeptCheckpoint[] = []) {
    this.#rule = rule;
    this.all = all;
  }

  /** The best ones, best first; where nothing is monitored the newest, newest first. */
  get best(): readonly KeptCheckpoint[] {
    return this.#bestOf(this.all);
  }

  /** What there is when `added` is there too, and what has to go. `added` itself may be among what has to go: then it is not worth saving. */
  with(added: KeptCheckpoint): { next: KeptCheckpoints; removed: string[] } {
    const all = [...this.all.filter(({ path }) => path !== added.path), added];
    const best = this.#bestOf(all);
    const stays = (one: KeptCheckpoint): boolean => best.includes(one) || (this.#rule.keepsNewest && one === added);
    return {
      next: new KeptCheckpoints(this.#rule, all.filter(stays)),
      removed: all.filter((one) => !stays(one)).map(({ path }) => path),
    };
  }

  /** The state without some paths. */
  without(paths: readonly string[]): KeptCheckpoints {
    return new KeptCheckpoints(
      this.#rule,
      this.all.filter(({ path }) => !paths.includes(path)),
    );
  }
  /** The state in which nothing was saved. */
  emptied(): KeptCheckpoints {
    return new KeptCheckpoints(this.#rule);
  }
  /** True when a path is among those that are kept. */
  has(path: string): boolean {
    return this.all.some((one) => one.path === path);
  }

  #bestOf(all: readonly KeptCheckpoint[]): KeptCheckpoint[] {
    const { topK } = this.#rule;
    // A sort keeps the order of equals: among equal scores the older one is the better.
    const ordered = all.some(({ score }) => score !== null)
      ? [...all].sort((a, b) => this.#compare(a.score, b.score))
      : [...all].reverse();
    return topK < 0 ? ordered : ordered.slice(0, topK);
  }

  /** NaN, and what was saved without a score, come last. */
  #compare(a: number | null, b: number | null): number {
    const [left, right] = [a ?? Number.NaN, b ?? Number.NaN];
    if (Number.isNaN(left) || Number.isNaN(right)) return Number(Number.isNaN(left)) - Number(Number.isNaN(right));
    return this.#rule.isBetter(left, right) ? -1 : this.#rule.isBetter(right, left) ? 1 : 0;
  }
}
