// A barrier with a deadline, after which all ranks know who did not come. The ranks meet in the group's store, so a barrier that ends
// without all of them leaves the group usable.
import { DistributedError } from "../errors.js";
import { groupStore, type ProcessGroup } from "./process-group.js";
import type { Store } from "./stores.js";

// Added to a counter by the rank whose time is over: more than there can be ranks.
const closed = 2 ** 40;
// How long the rank that decides may take to tell the others.
const tellingMs = 30_000;

/** How a barrier ended without all ranks: who gave up, after how long, and who was missing. */
interface Failure {
  rank: number;
  timeoutMs: number;
  missing: number[];
}

const turns = new WeakMap<ProcessGroup, Map<string, number>>();

/**
 * internal: waits until all ranks of the group have come to the barrier called `name`, which can be used again and again. When the first
 * of them has waited for `timeoutMs` it ends with the same `DistributedError` (`ERR_RANK_MISSING`) for all, also for those that come later.
 */
export async function barrierWithDeadline(group: ProcessGroup, name: string, timeoutMs: number): Promise<void> {
  const ofGroup = turns.get(group) ?? new Map<string, number>();
  turns.set(group, ofGroup);
  const turn = (ofGroup.get(name) ?? 0) + 1;
  ofGroup.set(name, turn);
  await new Meeting(groupStore(group), group, name, turn).attend(timeoutMs);
}

/**
 * One use of a barrier. Counters decide, so that the outcome is the same for all: a rank has come when it is the first to add to its own
 * counter; the one who gives up adds to those of the others, and whoever finds that in the own counter is late.
 */
class Meeting {
  readonly #store: Store;
  readonly #group: ProcessGroup;
  readonly #name: string;
  readonly #turn: number;

  constructor(store: Store, group: ProcessGroup, name: string, turn: number) {
    this.#store = store;
    this.#group = group;
    this.#name = name;
    this.#turn = turn;
  }

  async attend(timeoutMs: number): Promise<void> {
    const own = await this.#store.add(this.#key(this.#group.rank), 1);
    const come = own > 1 ? closed : await this.#store.add(this.#key("come"), 1);
    if (come === this.#group.size) {
      await this.#store.set(this.#key("end"), "open");
      return this.#removeTurnBefore();
    }
    const end = await this.#waitForEnd(come > closed || own > 1 ? tellingMs : timeoutMs, timeoutMs);
    if (end !== "open") throw this.#error(JSON.parse(end) as Failure);
  }

  async #waitForEnd(waitMs: number, timeoutMs: number): Promise<string> {
    try {
      return await this.#store.getText(this.#key("end"), waitMs);
    } catch (error) {
      if ((error as { code?: string }).code !== "ERR_STORE_TIMEOUT") throw error;
    }
    const come = await this.#store.add(this.#key("come"), closed);
    // All have come in the meantime, or another one decides.
    if (come === closed + this.#group.size || come >= 2 * closed)
      return await this.#store.getText(this.#key("end"), tellingMs);
    return await this.#decide(timeoutMs);
  }

  async #decide(timeoutMs: number): Promise<string> {
    const { ranks } = this.#group;
    const missing: number[] = [];
    for (const [member, rank] of ranks.entries()) {
      if ((await this.#store.add(this.#key(member), closed)) === closed) missing.push(rank);
    }
    const failure: Failure = { rank: ranks[this.#group.rank] as number, timeoutMs, missing };
    const end = missing.length === 0 ? "open" : JSON.stringify(failure);
    await this.#store.set(this.#key("end"), end);
    return end;
  }

  /** All have left it. Not waited for, and not needed: it saves memory. */
  #removeTurnBefore(): void {
    for (const what of ["come", "end", ...this.#group.ranks.keys()]) {
      this.#store.deleteKey(this.#key(what, this.#turn - 1)).catch(() => {});
    }
  }

  #error({ rank, timeoutMs, missing }: Failure): DistributedError {
    const { size, ranks } = this.#group;
    const duration = timeoutMs < 1000 ? `${timeoutMs} ms` : `${timeoutMs / 1000} s`;
    const who = `${missing.length === 1 ? "rank" : "ranks"} ${missing.join(", ")} of ${size}`;
    const isLate = missing.includes(ranks[this.#group.rank] as number);
    return new DistributedError(
      `\`${this.#name}\` ended without ${who}: rank ${rank} has waited ${duration}.${isLate ? " This rank came too late." : ""}`,
      {
        code: "ERR_RANK_MISSING",
        hint: "The missing ranks are stuck, late or gone, or never make this call: look at their output. A barrier with a name is met under the same name everywhere.",
      },
    );
  }

  #key(what: string | number, turn = this.#turn): string {
    return `${this.#name}/${turn}/${what}`;
  }
}
