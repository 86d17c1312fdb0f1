// The threads of a loader: starting them, posting tasks, waiting for replies with or without the event loop, noticing those that
// failed, died or hang, and ending all of them. In which order batches come is up to worker-pass.ts.
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { DataLoaderError } from "../../errors.js";
import { native } from "../../native.js";
import { decodeError, encodeError, type SentError } from "./error-codec.js";
import { type Reply, SharedMemory, type Task, type WorkerPlan, type WorkerStart } from "./protocol.js";

// While it sleeps for a reply, the main thread looks this often for workers that have ended.
const lookMs = 50;
// A worker that closes has this long to finish the sample that it is loading.
const closingMs = 1000;
const longWaitMs = 30_000;
// A new worker imports modules first: that does not count as loading a batch.
const startMs = 10_000;
// A thread that has not come to its program by then has failed in a way that only the event loop would tell.
const beginMs = 30_000;

/** internal: a reply that belongs to a task. */
export type WorkReply = Exclude<Reply, { type: "ready" | "failed" }>;

interface Member {
  readonly id: number;
  readonly worker: Worker;
  readonly port: MessagePort;
  /** Replies that came and nobody took yet. */
  readonly replies: WorkReply[];
  readyAt: number | null;
  failure: SentError | null;
  hasExited: boolean;
  hasWarned: boolean;
}

/** internal: what a pool needs to know beside the plan for its workers. */
export interface PoolOptions {
  /** How long a batch may take; 0 is for ever. */
  readonly timeoutMs: number;
}

/** internal: the worker threads of one loader. They never keep the process from ending. */
export class WorkerPool {
  readonly exchange: number;
  readonly #members: Member[];
  readonly #shared: SharedMemory;
  readonly #timeoutMs: number;
  #pass = 0;
  #isClosed = false;
  #wake: (() => void) | null = null;

  /** Starts the workers. `makePlan` is told the exchange through which its tensors go. */
  constructor(makePlan: (exchange: number) => Omit<WorkerPlan, "exchange" | "shared">, { timeoutMs }: PoolOptions) {
    this.#timeoutMs = timeoutMs;
    this.exchange = native().openExchange();
    try {
      const rest = makePlan(this.exchange);
      this.#shared = new SharedMemory(rest.numWorkers);
      const plan: WorkerPlan = { ...rest, exchange: this.exchange, shared: this.#shared };
      this.#members = Array.from({ length: rest.numWorkers }, (_, id) => this.#start(id, plan));
    } catch (error) {
      native().closeExchange(this.exchange);
      throw error;
    }
  }

  /** The pass under way. */
  get pass(): number {
    return this.#pass;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Begins a pass: what was asked for before is not answered any more. Returns its number. */
  startPass(): number {
    this.#shared.pass = ++this.#pass;
    for (const member of this.#members) {
      member.replies.length = 0;
      member.hasWarned = false;
    }
    return this.#pass;
  }

  post(id: number, task: Task): void {
    this.#member(id).port.postMessage(task);
  }

  /** The next reply of a worker. Blocks this thread; the event loop does not turn meanwhile. */
  waitNow(id: number): WorkReply {
    const member = this.#member(id);
    const since = performance.now();
    for (;;) {
      const seen = this.#shared.replies;
      const reply = this.#take(member);
      if (reply !== undefined) return reply;
      this.#checkTime(member, since);
      this.#shared.sleep(seen, Math.min(lookMs, this.#timeLeft(member, since)));
    }
  }

  /** The next reply of a worker, once it is there. */
  async waitLater(id: number): Promise<WorkReply> {
    const member = this.#member(id);
    const since = performance.now();
    member.port.ref();
    try {
      for (;;) {
        const reply = this.#take(member);
        if (reply !== undefined) return reply;
        this.#checkTime(member, since);
        await this.#nextEvent(Math.min(1000, this.#timeLeft(member, since)));
      }
    } finally {
      member.port.unref();
    }
  }

  /** Ends all threads: those that are between two samples at once and with their streams closed, the others after a second. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#shared.pass = 0;
    for (const { port } of this.#members) {
      port.postMessage({ type: "stop" } satisfies Task);
      port.removeAllListeners("message");
      port.unref();
    }
    const timer = setTimeout(() => this.#terminate(), closingMs);
    timer.unref();
    native().closeExchange(this.exchange);
    this.#wake?.();
  }

  #start(id: number, plan: WorkerPlan): Member {
    const { port1, port2 } = new MessageChannel();
    const workerData: WorkerStart = { id, port: port2, plan };
    const execArgv = flagsForThreads();
    const worker = new Worker(new URL("./worker-main.js", import.meta.url), {
      workerData,
      ...(execArgv === undefined ? {} : { execArgv }),
      transferList: [port2],
      name: `data loader worker ${id}`,
    });
    worker.unref();
    const member: Member = {
      id,
      worker,
      port: port1,
      replies: [],
      readyAt: null,
      failure: null,
      hasExited: false,
      hasWarned: false,
    };
    worker.on("error", (error) => {
      member.failure ??= encodeError(error);
      this.#wake?.();
    });
    worker.on("exit", (code) => {
      this.#shared.setExitCode(id, code);
      this.#drain(member);
      member.hasExited = true;
      port1.close();
      this.#wake?.();
    });
    port1.on("message", (reply: Reply) => {
      this.#receive(member, reply);
      this.#wake?.();
    });
    port1.unref();
    return member;
  }

  #member(id: number): Member {
    return this.#members[id] as Member;
  }

  #take(member: Member): WorkReply | undefined {
    // Asked before the replies are: what it sent before it ended still counts.
    const hasEnded = member.hasExited || this.#shared.hasEnded(member.id);
    if (member.replies.length === 0) this.#drain(member);
    const reply = member.replies.shift();
    if (reply === undefined && (hasEnded || member.failure !== null)) {
      this.close();
      throw this.#death(member);
    }
    return reply;
  }

  #drain(member: Member): void {
    for (let sent = receiveMessageOnPort(member.port); sent !== undefined; sent = receiveMessageOnPort(member.port))
      this.#receive(member, (sent as { message: Reply }).message);
  }

  #receive(member: Member, reply: Reply): void {
    if (reply.type === "ready") member.readyAt = performance.now();
    else if (reply.type === "failed") member.failure = reply.error;
    else if (reply.pass === this.#pass) member.replies.push(reply);
  }

  #nextEvent(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #timeLeft(member: Member, since: number): number {
    if (this.#timeoutMs === 0) return Number.POSITIVE_INFINITY;
    const from = member.readyAt === null ? since + startMs : Math.max(since, member.readyAt);
    return Math.max(0, from + this.#timeoutMs - performance.now());
  }

  #checkTime(member: Member, since: number): void {
    const waited = performance.now() - since;
    const neverBegan = waited > beginMs && !this.#shared.hasBegun(member.id);
    if (!neverBegan && this.#timeLeft(member, since) > 0) {
      if (waited > longWaitMs && !member.hasWarned) this.#warn(member, waited);
      return;
    }
    void member.worker.terminate();
    this.close();
    const what =
      member.readyAt === null
        ? `did not start within ${Math.round(waited)} ms`
        : `gave no batch within ${this.#timeoutMs} ms${this.#whereabouts(member)}`;
    throw new DataLoaderError(`Worker ${member.id} of the DataLoader ${what}.`, {
      code: "ERR_DATA_LOADER_TIMEOUT",
      workerId: member.id,
      index: this.#shared.sample(member.id),
      hint: neverBegan
        ? "Something fails before the worker's program, such as a module that `--import` or `--require` names: `for await` shows what."
        : "If loading takes that long, raise `timeoutMs`; if the dataset waits for something that never comes, that is where to look.",
    });
  }

  #warn(member: Member, waited: number): void {
    member.hasWarned = true;
    // Not `process.emitWarning`, which waits for the event loop.
    process.stderr.write(
      `Warning: worker ${member.id} of a DataLoader has given no batch for ${Math.round(waited / 1000)} s${this.#whereabouts(member)}. A \`timeoutMs\` would make that an error.\n`,
    );
  }

  #death(member: Member): DataLoaderError {
    const { id, failure } = member;
    const details = { workerId: id, index: this.#shared.sample(id) };
    if (failure !== null) {
      const cause = decodeError(failure);
      const what = member.readyAt === null ? "could not start" : `failed${this.#whereabouts(member)}`;
      return new DataLoaderError(`Worker ${id} of the DataLoader ${what}: ${cause.message}`, { ...details, cause });
    }
    const code = this.#shared.exitCode(id);
    const how =
      code === null
        ? "its thread was ended, most likely for want of memory"
        : `its thread ended with exit code ${code}`;
    return new DataLoaderError(`Worker ${id} of the DataLoader died${this.#whereabouts(member)}: ${how}.`, details);
  }

  /** Which sample a worker is loading, for a message. */
  #whereabouts(member: Member): string {
    const index = this.#shared.sample(member.id);
    return index === null ? "" : `, while it was loading sample ${index}`;
  }

  #terminate(): void {
    for (const { worker, hasExited } of this.#members) if (!hasExited) void worker.terminate();
  }
}

/** Node's flags for the threads of a program that was given as text, whose flags they cannot inherit; undefined for any other. */
function flagsForThreads(): string[] | undefined {
  const flags = process.execArgv;
  if (!flags.some((flag) => /^(-e|-p|-pe|--eval|--print|--input-type)(=|$)/.test(flag))) return undefined;
  const kept: string[] = [];
  flags.forEach((flag, i) => {
    const [name, value] = flag.split("=", 2) as [string, string | undefined];
    if (name === "--enable-source-maps") kept.push(flag);
    if (/^(-r|--require|--import|--loader|--experimental-loader|-C|--conditions)$/.test(name)) {
      kept.push(...(value === undefined ? [flag, flags[i + 1] as string] : [flag]));
    }
  });
  return kept;
}
