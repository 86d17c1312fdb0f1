// Sends what is logged to MLflow in the background: in batches, again where it failed, and never more than it can hold.
import { setTimeout as sleep } from "node:timers/promises";
import { MLflowError, type MLflowServer, request } from "./client.js";
import { type Batch, BatchQueue, halves, type Pair } from "./queue.js";

/** internal: what a sender needs to know. */
export interface SenderOptions {
  server: MLflowServer;
  experimentName: string;
  runName: string | null;
  /** A run to continue; null makes a new one. */
  runId: string | null;
  tags: Pair[];
  /** A text that no other run has. */
  startId: string;
  /** Most metrics that wait. */
  maxQueue: number;
  /** Metrics wait this long for others to go with. */
  batchMs: number;
  /** How long an answer may take. */
  requestMs: number;
  /** The first pause before trying again; it doubles each time, up to `longestPauseMs`. */
  pauseMs: number;
  longestPauseMs: number;
}

/** internal: how an MLflow run ended. */
export type RunStatus = "FINISHED" | "FAILED" | "KILLED";

/** internal: what a sender tells. */
export interface SenderEvents {
  onRun(runId: string): void;
  onWarning(text: string): void;
}

/** internal: one run. Nothing that it does throws. */
export class MLflowSender {
  readonly #options: SenderOptions;
  readonly #events: SenderEvents;
  readonly #queue: BatchQueue;
  readonly #refused: Batch[] = [];
  readonly #work: Promise<void>;
  #runId: string | null = null;
  #isDead = false;
  #isFinishing = false;
  #deadline = Number.POSITIVE_INFINITY;
  #wake = new AbortController();
  #stop = new AbortController();
  #warned = new Set<string>();

  constructor(options: SenderOptions, events: SenderEvents) {
    this.#options = options;
    this.#events = events;
    this.#queue = new BatchQueue(options.maxQueue);
    this.#work = this.#sendAll();
  }

  /** Adds to what will be sent. */
  add(items: Partial<Batch>): void {
    if (this.#isDead || this.#isFinishing) return;
    this.#queue.add(items);
    if (this.#queue.dropped > 0) {
      this.#warn("full", `more than ${this.#options.maxQueue} metrics wait to be sent: the oldest are dropped`);
    }
    this.#wakeUp();
  }

  /** Sends what is left, then the run's status; for so long at most. Resolves when nothing more will be sent. */
  async finish(status: RunStatus, milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds;
    // The status needs some of the time.
    this.#deadline = end - milliseconds / 4;
    this.#isFinishing = true;
    this.#wakeUp();
    const timer = setTimeout(() => this.#stop.abort(), this.#deadline - performance.now());
    await this.#work;
    clearTimeout(timer);
    this.#stop = new AbortController();
    this.#deadline = end;
    if (this.#runId !== null && !this.#isDead) {
      const body = { run_id: this.#runId, status, end_time: Date.now() };
      await this.#attempt("the end of the run", () => this.#request("runs/update", body));
    }
    const lost = this.#queue.length + this.#queue.dropped;
    if (lost > 0) this.#warn("lost", `${lost} metrics, parameters and tags could not be sent`);
  }

  async #sendAll(): Promise<void> {
    const { runId } = this.#options;
    if (!(await (runId === null ? this.#start() : this.#continue(runId)))) return;
    this.#events.onRun(this.#runId as string);
    while (!this.#isDead && performance.now() < this.#deadline) {
      const batch = this.#refused.pop() ?? (await this.#nextBatch());
      if (batch === null) return;
      const isSent = await this.#attempt(
        "a batch",
        () => this.#request("runs/log-batch", { run_id: this.#runId, ...batch }),
        batch,
      );
      if (!isSent && !this.#isDead && performance.now() >= this.#deadline) this.#queue.add(batch);
    }
    // To be counted as lost.
    for (const batch of this.#refused) this.#queue.add(batch);
  }

  async #continue(runId: string): Promise<boolean> {
    this.#runId = runId;
    this.#queue.add({ tags: this.#options.tags });
    return await this.#attempt("the start of the run", () =>
      this.#request("runs/update", { run_id: runId, status: "RUNNING" }),
    );
  }

  /** Null when there is nothing left and nothing more to come. */
  async #nextBatch(): Promise<Batch | null> {
    while (this.#queue.length === 0) {
      if (this.#isFinishing) return null;
      await this.#pause(2 ** 31 - 1);
    }
    // Others may come to go with these.
    const until = performance.now() + this.#options.batchMs;
    for (let left = this.#options.batchMs; left > 0; left = until - performance.now()) {
      if (this.#isFinishing || this.#queue.length >= 1000) break;
      await this.#pause(left);
    }
    return this.#queue.take();
  }

  async #start(): Promise<boolean> {
    const { experimentName, runName, tags, startId } = this.#options;
    const started = Date.now();
    let experiment: string | null = null;
    let mayExist = false;
    return await this.#attempt("the start of the run", async () => {
      experiment ??= await this.#experiment(experimentName);
      if (mayExist) this.#runId = await this.#findRun(experiment, startId);
      if (this.#runId !== null) return;
      mayExist = true;
      const { run } = await this.#request("runs/create", {
        experiment_id: experiment,
        start_time: started,
        ...(runName === null ? {} : { run_name: runName }),
        tags: [...tags, { key: startTag, value: startId }],
      });
      this.#runId = textAt(run, "info", "run_id");
    });
  }

  async #experiment(name: string): Promise<string> {
    const query = `experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`;
    try {
      return textAt((await this.#request(query, null)).experiment, "experiment_id");
    } catch (error) {
      if ((error as MLflowError).status !== 404) throw error;
    }
    try {
      return textAt(await this.#request("experiments/create", { name }), "experiment_id");
    } catch (error) {
      if ((error as MLflowError).errorCode !== "RESOURCE_ALREADY_EXISTS") throw error;
      return textAt((await this.#request(query, null)).experiment, "experiment_id");
    }
  }

  /** The run that an earlier attempt made, whose answer was lost. */
  async #findRun(experiment: string, startId: string): Promise<string | null> {
    const { runs } = await this.#request("runs/search", {
      experiment_ids: [experiment],
      filter: `tags.\`${startTag}\` = '${startId}'`,
      max_results: 1,
    });
    return Array.isArray(runs) && runs.length > 0 ? textAt(runs[0], "info", "run_id") : null;
  }

  /**
   * Tries until it goes well, the server refuses for good, or the time is up. A batch that is refused is split, until the item that the
   * server does not want is alone; it is dropped.
   */
  async #attempt(what: string, send: () => Promise<unknown>, batch?: Batch): Promise<boolean> {
    let pause = this.#options.pauseMs;
    let isLastChance = this.#isFinishing;
    for (;;) {
      try {
        await send();
        return true;
      } catch (cause) {
        const error = cause as MLflowError;
        if (!error.isTemporary) {
          this.#refuse(what, error, batch);
          return false;
        }
        this.#warn("temporary", `${what} could not be sent, and is tried again: ${error.message}`);
        const jittered = pause * (0.5 + Math.random() / 2);
        await this.#pauseAfterFailure(Math.max(jittered, error.retryAfterMs));
        if (performance.now() >= this.#deadline) return false;
        pause = Math.min(pause * 2, this.#options.longestPauseMs);
        if (this.#isFinishing && !isLastChance) {
          // There is little time: it is used.
          isLastChance = true;
          pause = this.#options.pauseMs;
        }
      }
    }
  }

  #refuse(what: string, error: MLflowError, batch: Batch | undefined): void {
    if (batch !== undefined && (error.status === 400 || error.status === 413)) {
      const parts = halves(batch);
      if (parts !== null) {
        this.#refused.push(...parts.reverse());
        return;
      }
      const key = [...batch.metrics, ...batch.params, ...batch.tags][0]?.key ?? "";
      this.#warn(key, `the server refuses \`${key}\`: ${error.message}`);
      return;
    }
    this.#isDead = true;
    this.#warn("dead", `the server refuses ${what}, nothing more is sent: ${error.message}`);
  }

  #request(path: string, body: object | null): Promise<Record<string, unknown>> {
    const left = this.#deadline - performance.now();
    return request(this.#options.server, path, body, Math.min(this.#options.requestMs, left), this.#stop.signal);
  }

  /** Waits, until the deadline at most, or until something is added or the run is to end. */
  async #pause(milliseconds: number): Promise<void> {
    const left = Math.min(milliseconds, this.#deadline - performance.now(), 2 ** 31 - 1);
    if (left <= 0) return;
    this.#wake = new AbortController();
    await sleep(left, undefined, { signal: this.#wake.signal }).catch(() => {});
  }

  /** The same, but what is added has to wait, too. */
  async #pauseAfterFailure(milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds;
    const wasFinishing = this.#isFinishing;
    for (let left = milliseconds; left > 0 && this.#isFinishing === wasFinishing; left = end - performance.now()) {
      if (performance.now() >= this.#deadline) return;
      await this.#pause(left);
    }
  }

  #wakeUp(): void {
    this.#wake.abort();
  }

  #warn(kind: string, text: string): void {
    if (this.#warned.has(kind) || this.#warned.size >= 20) return;
    this.#warned.add(kind);
    this.#events.onWarning(text);
  }
}

const startTag = "fabric.start_id";

function textAt(value: unknown, ...keys: string[]): string {
  let found: unknown = value;
  for (const key of keys) found = (found as Record<string, unknown> | null | undefined)?.[key];
  if (typeof found === "string" && found !== "") return found;
  // An answer of another kind of server.
  throw new MLflowError(`an answer without \`${keys.join(".")}\``, 200);
}
