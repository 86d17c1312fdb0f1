// The launcher's side of the memory in which a rank shows what it is doing. It outlives the rank, however that ended.
import { readSync } from "node:fs";
import { processControl } from "@fabric-ts/torch/base";
import { pageBytes, tellPlace, textStart, words } from "../utilities/activity.js";

/** internal: what a rank shows. */
export interface RankActivity {
  /** Where it is, in words; empty between the activities that are known by name, and before the first. */
  place: string;
  /** Counts seconds; 0 while the memory is not in use. */
  heart: number;
  /** The most memory that it has had, in KiB. */
  peakKiB: number;
  /** True while it waits for other ranks. */
  isWaiting: boolean;
  /** Another number when it has begun or ended something, or waited. */
  changes: string;
}

/** internal: the memory of one rank. */
export class RankPage {
  /** For the rank to inherit. */
  readonly fd: number;
  readonly #words = new Int32Array(pageBytes / 4);
  #isOpen = true;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Undefined where there is no such memory: the job runs without it. */
  static create(): RankPage | undefined {
    try {
      return new RankPage(processControl.processAddon().createPage());
    } catch {
      return undefined;
    }
  }

  /** What it says now, or when it was closed. */
  read(): RankActivity {
    if (this.#isOpen) readSync(this.fd, this.#words, 0, pageBytes, 0);
    const word = (index: number): number => this.#words[index] as number;
    const length = Math.min(Math.max(0, word(words.textLength)), pageBytes - textStart);
    const call = Buffer.from(this.#words.buffer, textStart, length).toString();
    return {
      place: tellPlace(word(words.activity), call, word(words.steps)),
      heart: word(words.heart),
      peakKiB: word(words.peak),
      isWaiting: word(words.waiting) > 0,
      changes: `${word(words.changes)} ${word(words.waits)} ${word(words.waiting)}`,
    };
  }

  /** Gives the memory back; what it said last can still be read. */
  close(): void {
    if (!this.#isOpen) return;
    this.read();
    this.#isOpen = false;
    processControl.processAddon().closePage(this.fd);
  }
}
