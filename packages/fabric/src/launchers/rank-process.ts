// One rank as its supervisor sees it: a child process in a session of its own, what it reports, and how it ended.
import type { ChildProcess } from "node:child_process";
import { EventEmitter } from "node:events";
import type { Readable } from "node:stream";
import { builtins } from "@fabric-ts/torch/base";
import type { RankMessage, RankPhase } from "../environments/rank-channel.js";
import type { RankOutput } from "./job-output.js";
import { forwardLines } from "./output.js";
import type { Command } from "./program.js";
import type { RankActivity, RankPage } from "./rank-page.js";
import { setLiveLine } from "./terminal.js";

/** Longer messages are dropped: a rank cannot fill the supervisor's memory. */
const maxMessage = 512 * 1024;
/** After the end of a process its last message is waited for this long. */
const lastMessageMs = 200;

/** internal: how to start a rank. */
export interface RankOptions {
  rank: number;
  command: Command;
  env: Record<string, string | undefined>;
  /** Whether it gets the supervisor's standard input; the others have none. */
  ownsInput: boolean;
  /** Whether it writes to the supervisor's standard output itself: a progress line needs a terminal. Otherwise whole lines are forwarded. */
  ownsTerminal: boolean;
  output: RankOutput;
  /** The memory in which it shows what it is doing, where there is such memory. It is closed at the end. */
  page?: RankPage | undefined;
}

/** internal: an uncaught error, as the rank reported it. */
export type RankError = Extract<RankMessage, { type: "error" }>;

/** internal: events are "phase", "error" and, once, "ended" (after its last message). */
export class RankProcess extends EventEmitter<{ phase: []; error: []; ended: [] }> {
  readonly rank: number;
  /** How far it has come. */
  phase: RankPhase = "starting";
  /** Its uncaught error, if it reported one. */
  error: RankError | undefined;
  /** Why it could not be started. */
  spawnError: Error | undefined;
  exitCode: number | null = null;
  signal: NodeJS.Signals | null = null;
  hasEnded = false;
  /** The first signal that the supervisor sent it. */
  sent: NodeJS.Signals | undefined;
  /** What it was doing when it was last looked at. */
  seen: RankActivity | undefined;
  /** Whether a signal had stopped it when the job ended. */
  isStopped = false;
  /** Whether the kernel had killed processes for want of memory when it ended. */
  memoryRanOut = false;
  readonly #page: RankPage | undefined;
  #changedAt = performance.now();
  #beatAt = performance.now();
  #seenAt = performance.now();
  #isFrozen = false;
  readonly #child: ChildProcess;
  readonly #streams: Readable[];

  constructor(options: RankOptions) {
    super();
    this.rank = options.rank;
    const { ownsInput, ownsTerminal, output, page } = options;
    this.#page = page;
    // detached: a session of its own. Signals of the terminal reach the supervisor alone, which decides.
    this.#child = builtins.childProcess.spawn(options.command.file, options.command.args, {
      env: { ...options.env, FABRIC_RANK_CHANNEL: "3", FABRIC_RANK_PAGE: page && "4" },
      stdio: [
        ownsInput ? "inherit" : "ignore",
        ownsTerminal ? "inherit" : "pipe",
        "pipe",
        "pipe",
        page ? page.fd : "ignore",
      ],
      detached: true,
    });
    // Where this process may open no more files there are no streams at all.
    const [, stdout, stderr, channel] = (this.#child.stdio ?? []) as (Readable | null | undefined)[];
    if (stdout) forwardLines(stdout, (lines) => output.stdout(lines, stdout));
    if (stderr) forwardLines(stderr, (lines) => output.stderr(lines, stderr));
    this.#streams = [stdout, stderr].filter((stream) => stream != null);
    if (channel) this.#listen(channel);
    this.#child.on("error", (error) => {
      if (this.#child.pid !== undefined) return;
      this.spawnError = error;
      this.#end();
    });
    this.#child.on("exit", (code, signal) => {
      this.exitCode = code;
      this.signal = signal;
      this.freeze();
      this.#page?.close();
      // The exit may be noticed before the last message has been read.
      if (!channel || channel.readableEnded || channel.destroyed) return this.#end();
      const timer = setTimeout(() => this.#end(), lastMessageMs);
      channel.once("close", () => {
        clearTimeout(timer);
        this.#end();
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** True when it did not end well: it threw, exited with another code than 0, was killed or never started. */
  get hasFailed(): boolean {
    return this.spawnError !== undefined || this.error !== undefined || (this.hasEnded && this.exitCode !== 0);
  }

  /** True when the process has ended, be its last message on its way. */
  get isOver(): boolean {
    return this.hasEnded || this.exitCode !== null || this.signal !== null;
  }

  /** True while it waits for other ranks. */
  get isWaiting(): boolean {
    return this.phase === "rendezvous" || this.seen?.isWaiting === true;
  }

  /** How long it had not begun or ended anything when it was last looked at. */
  get unchangedMs(): number {
    return this.#seenAt - this.#changedAt;
  }

  /** How long its heart had not beaten when it was last looked at. */
  get silentMs(): number {
    return this.#seenAt - this.#beatAt;
  }

  /** Looks at what it is doing. */
  observe(): void {
    if (this.#isFrozen) return;
    const before = this.seen;
    const now = this.#page?.read();
    this.seen = now;
    this.#seenAt = performance.now();
    if (now?.changes !== before?.changes) this.#changedAt = this.#seenAt;
    // Before its first beat there is nothing to expect.
    if (now === undefined || now.heart === 0 || now.heart !== before?.heart) this.#beatAt = this.#seenAt;
  }

  /** Looks at what it is doing for the last time: what follows is a consequence of the end. */
  freeze(): void {
    this.observe();
    this.#isFrozen = true;
  }

  /** Asks the rank to end. */
  ask(signal: NodeJS.Signals): void {
    // To Node, one that could not be started for want of files has number 0, which means this process' whole group.
    if (this.isOver || this.pid === undefined) return;
    this.sent ??= signal;
    this.#child.kill(signal);
  }

  /** Ends the rank and what it started in its session, now. */
  kill(): void {
    if (!this.hasEnded) this.sent ??= "SIGKILL";
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // Nobody left in the group, the usual case after the end.
    }
    // Before its setsid() the child is in no group of its own.
    if (this.exitCode === null && this.signal === null) this.#child.kill("SIGKILL");
  }

  /** Resolves when all output has been read, or after `timeoutMs`; a daemon that holds the pipes open is not waited for. */
  async outputEnd(timeoutMs: number): Promise<void> {
    const open = this.#streams.filter((stream) => !stream.destroyed && !stream.readableEnded);
    if (open.length > 0) {
      let timer: NodeJS.Timeout | undefined;
      const ends = open.map((stream) => new Promise((resolve) => stream.once("close", resolve)));
      await Promise.race([Promise.all(ends), new Promise((resolve) => (timer = setTimeout(resolve, timeoutMs)))]);
      clearTimeout(timer);
    }
    for (const stream of this.#streams) stream.destroy();
  }

  #end(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.#page?.close();
    this.emit("ended");
  }

  #listen(channel: Readable): void {
    let rest = "";
    channel.setEncoding("utf8");
    channel.on("error", () => {});
    channel.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > maxMessage) rest = "";
      for (const line of lines) this.#receive(line);
    });
  }

  #receive(line: string): void {
    let message: Partial<RankMessage> | null;
    try {
      message = JSON.parse(line) as Partial<RankMessage> | null;
    } catch {
      return;
    }
    if (message?.type === "phase" && typeof message.phase === "string") {
      this.phase = message.phase;
      this.#changedAt = performance.now();
      this.emit("phase");
    } else if (message?.type === "error" && !this.error) {
      const { name, message: words, code, text, summary, secondary, place } = message;
      this.error = {
        type: "error",
        name: String(name ?? "Error"),
        message: String(words ?? ""),
        code: typeof code === "string" ? code : undefined,
        text: String(text ?? ""),
        summary: String(summary),
        place: typeof place === "string" ? place : undefined,
        secondary: secondary === true,
      };
      this.emit("error");
    } else if (message?.type === "liveLine") setLiveLine(message.isShown === true);
  }
}
