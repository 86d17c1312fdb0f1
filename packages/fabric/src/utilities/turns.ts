// Tasks that consist of several collectives, one after the other: at the same time they would interleave differently on each rank.

/** internal: runs each task once those before it have ended, however they ended; the first at once. */
export class Turns {
  #last: Promise<unknown> | null = null;

  take<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#last === null ? task() : this.#last.then(task);
    const end: Promise<unknown> = turn
      .catch(() => {})
      .then(() => {
        if (this.#last === end) this.#last = null;
      });
    this.#last = end;
    return turn;
  }
}
