// The main thread's side of an MLflow run: hands over what is logged, and waits for the end, never for longer than it may.
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { warnNow, watchExit } from "../unsaved.js";
import type { Batch } from "./queue.js";
import type { RunStatus, SenderOptions } from "./sender.js";
import type { FromWorker, ToWorker, WorkerData } from "./worker.js";

/** Beyond the time that the thread itself keeps to. */
const graceMs = 1000;

/** internal: one run in its thread. */
export class RunThread {
  /** The run's id, once the server has told it. */
  runId: string | null = null;
  readonly #started: Promise<string | null>;
  readonly #port: MessagePort;
  readonly #worker: Worker;
  readonly #done = new Int32Array(new SharedArrayBuffer(4));
  readonly #timeoutMs: number;
  readonly #ended: Promise<void>;
  #resolveStarted: (runId: string | null) => void = () => {};
  #resolveEnded: () => void = () => {};
  #state: "open" | "finishing" | "ended" = "open";

  constructor(options: SenderOptions, timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#started = new Promise((resolve) => (this.#resolveStarted = resolve));
    this.#ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    const { port1, port2 } = new MessageChannel();
    const workerData: WorkerData = { port: port2, done: this.#done, options };
    this.#port = port1;
    // Without this process's loaders and preloads: the thread needs none of them.
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), {
      name: "mlflow",
      workerData,
      transferList: [port2],
      execArgv: [],
    });
    this.#worker.on("error", (error) => {
      warnNow(`MLflowLogger: the thread that sends to MLflow ended, nothing more is sent: ${error.message}`);
      this.#end();
    });
    port1.on("message", (message: FromWorker) => this.#receive(message));
    port1.unref();
    this.#worker.unref();
    watchExit();
    process.once("beforeExit", this.#onBeforeExit);
    process.once("exit", this.#onExit);
  }

  /** Resolves with the run's id, or with null when it has none in time. */
  start(): Promise<string | null> {
    return this.#within(this.#timeoutMs, this.#started);
  }

  /** Hands over; never waits. */
  send(items: Partial<Batch>): void {
    if (this.#state === "open") this.#post({ type: "items", items });
  }

  /** Ends the run, when everything has been sent or the time is up. */
  async finish(status: RunStatus): Promise<void> {
    if (this.#state === "open") {
      this.#state = "finishing";
      this.#post({ type: "finish", status, milliseconds: this.#timeoutMs });
    }
    if (this.#state !== "finishing") return;
    await this.#within(this.#timeoutMs + graceMs, this.#ended);
    this.#giveUp();
  }

  // The program is through, and the event loop can go on.
  readonly #onBeforeExit = (): void => {
    void this.finish(process.exitCode ? "FAILED" : "FINISHED");
  };

  // An uncaught error, or `process.exit`: there is no event loop any more, but the thread still runs.
  readonly #onExit = (code: number): void => {
    if (this.#state === "ended") return;
    if (this.#state === "open") {
      const status = code === 0 ? "FINISHED" : "FAILED";
      this.#post({ type: "finish", status, milliseconds: this.#timeoutMs });
    }
    Atomics.wait(this.#done, 0, 0, this.#timeoutMs + graceMs);
    for (let next = receiveMessageOnPort(this.#port); next; next = receiveMessageOnPort(this.#port)) {
      this.#receive(next.message as FromWorker);
    }
    this.#giveUp();
  };

  #giveUp(): void {
    if ((this.#state as string) === "ended") return;
    warnNow("MLflowLogger: the end of the run is waited for no longer; what has not been sent is lost.");
    this.#end();
  }

  /** What a promise gives, or null after so long. The timer also keeps the process alive meanwhile. */
  async #within<T>(milliseconds: number, promise: Promise<T>): Promise<T | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => (timer = setTimeout(() => resolve(null), milliseconds)));
    const result = await Promise.race([promise, late]);
    clearTimeout(timer);
    return result;
  }

  #post(message: ToWorker): void {
    this.#port.postMessage(message);
  }

  #receive(message: FromWorker): void {
    if (message.type === "warning") {
      warnNow(`MLflowLogger: ${message.text}`);
    } else if (message.type === "run") {
      this.runId = message.runId;
      this.#resolveStarted(message.runId);
    } else {
      this.#end();
    }
  }

  #end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    process.off("beforeExit", this.#onBeforeExit);
    process.off("exit", this.#onExit);
    this.#port.close();
    void this.#worker.terminate();
    this.#resolveStarted(this.runId);
    this.#resolveEnded();
  }
}
