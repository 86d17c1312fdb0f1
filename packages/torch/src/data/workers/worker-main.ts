// The program of a loader worker: makes the dataset, then answers each task with a batch until it is told to stop.
import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { onNativeLoad } from "../../native.js";
import { processAddon } from "../../process.js";
import { Tensor } from "../../tensor.js";
import type { DatasetLike, IterableDataset } from "../dataset.js";
import { defaultCollate, defaultConvert } from "../default-collate.js";
import { type Collate, Fetcher } from "../fetcher.js";
import { isStateful } from "../loader-state.js";
import { end, StreamReader } from "../stream-reader.js";
import { setWorkerInfo } from "../worker-info.js";
import { followReference, importReferenced, type ModuleReference } from "../worker-module.js";
import { encodeError } from "./error-codec.js";
import { makeMoved } from "./moved-dataset.js";
import {
  endedAt,
  type MovedFunction,
  type Reply,
  SharedMemory,
  type Task,
  type WorkerPosition,
  type WorkerStart,
} from "./protocol.js";
import { decode, encode } from "./thread-codec.js";
import { WorkerRandom } from "./worker-random.js";

const { id, port, plan } = workerData as WorkerStart;
const { exchange } = plan;
const shared = new SharedMemory(plan.shared);

shared.setBegun(id);
processAddon().markThreadEnd(shared.words, endedAt(id));
process.on("exit", (code) => shared.setExitCode(id, code));
// Listeners of the monitor do not keep the thread from ending; its last words say why it did.
process.on("uncaughtExceptionMonitor", (error) => send({ type: "failed", error: encodeError(error) }));
writeAtOnce(process.stdout, 1);
writeAtOnce(process.stderr, 2);
const random = new WorkerRandom();
onNativeLoad((binding) => binding.useOneThread());

function send(reply: Reply, transfer: ArrayBuffer[] = []): void {
  port.postMessage(reply, transfer);
  shared.announceReply();
}

interface Chunk {
  readonly chunk: string | Uint8Array;
  readonly encoding: BufferEncoding;
}

// What a thread prints goes through the main thread's event loop, which a training loop can keep from turning for hours. Node has more
// to say to the streams of a thread, so they stay and only write elsewhere.
function writeAtOnce(stream: NodeJS.WriteStream, fd: number): void {
  stream._writev = (chunks: Chunk[], done) => {
    for (const { chunk, encoding } of chunks)
      writeWhole(fd, typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk);
    done();
  };
}

function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      // A pipe that is full is tried again; one that is closed has no reader left.
      if ((error as { code?: string }).code !== "EAGAIN") return;
    }
  }
}

// Thrown where a sample would be read that nobody wants any more.
const abandoned = Symbol("abandoned");

class LoaderWorker {
  readonly #dataset: DatasetLike<unknown>;
  readonly #collate: Collate;
  readonly #fetcher: Fetcher | null;
  /** Where the first pass begins: `workerInitFn` may have chosen another seed. */
  readonly #seed: bigint;
  #pass = 0;
  #stream: StreamReader | null = null;

  constructor(dataset: DatasetLike<unknown>, collate: Collate, seed: bigint) {
    this.#dataset = dataset;
    this.#collate = collate;
    this.#seed = seed;
    this.#fetcher = plan.isStream ? null : new Fetcher(dataset, collate, plan.collate === "default");
    if (this.#fetcher !== null) this.#fetcher.onSample = (index) => this.#begin(index);
  }

  /** Does what a task asks, unless its pass is over. */
  async run(task: Exclude<Task, { type: "stop" }>): Promise<void> {
    // A pass that is over already may have had a state for the stream, from which the next pass goes on.
    const isWanted = task.pass === shared.pass || (task.type === "pass" && shared.pass !== 0);
    if (!isWanted) return;
    try {
      if (task.type === "pass") await this.#startPass(task);
      else await this.#sendBatch(task);
    } catch (error) {
      if (error === abandoned) return;
      const index = this.#fetcher === null ? shared.sample(id) : this.#fetcher.at;
      send({ type: "error", pass: task.pass, error: encodeError(error), index });
    }
  }

  async close(): Promise<void> {
    await this.#stream?.close();
  }

  async #startPass(task: Task & { type: "pass" }): Promise<void> {
    await this.close();
    this.#pass = task.pass;
    shared.setSample(id, -1);
    // Each pass has numbers of its own, the same ones whether the worker is new or kept.
    random.start(this.#seed + task.baseSeed - plan.firstBaseSeed);
    if (plan.isStream) await this.#openStream(task.resume);
    if (task.resume !== null && task.resume.random !== null) random.setState(task.resume.random);
  }

  async #openStream(resume: WorkerPosition | null): Promise<void> {
    const stream = this.#dataset as IterableDataset<unknown>;
    const state = resume?.dataset ?? null;
    if (state !== null && isStateful(stream)) await stream.loadStateDict(decode(state, exchange) as never);
    this.#stream = null;
    if (resume?.isOver) return;
    const { batchSize, dropLast } = plan;
    const onSample = (count: number): void => this.#begin(count - 1);
    this.#stream = new StreamReader(stream, { batchSize, dropLast, collate: this.#collate, onSample }, false);
    if (resume !== null && state === null) await this.#stream.skipLater(resume.batches);
  }

  async #sendBatch(task: Task & { type: "batch" | "next" }): Promise<void> {
    const { pass } = task;
    const batch =
      task.type === "batch" ? await this.#fetcher?.fetch(task.index, false) : await (this.#stream?.nextLater() ?? end);
    const dataset =
      plan.isStream && isStateful(this.#dataset) ? encode(this.#dataset.stateDict(), exchange).value : undefined;
    if (batch === end) return send({ type: "end", pass, dataset });
    const { value, transfer } = encode(batch, exchange);
    if (plan.collate === "default" && !plan.isSingle) disposeAll(batch);
    const isLast = this.#stream?.isOver ?? false;
    send({ type: "batch", pass, value, random: random.takeState(), dataset, isLast }, transfer);
  }

  #begin(index: number): void {
    shared.setSample(id, index);
    if (shared.pass !== this.#pass) throw abandoned;
  }
}

// The default collate function made them for this batch alone: the main thread's are now the only ones.
function disposeAll(batch: unknown): void {
  if (batch instanceof Tensor) batch.dispose();
  else if (batch instanceof Map) for (const item of batch.values()) disposeAll(item);
  else if (typeof batch === "object" && batch !== null) for (const item of Object.values(batch)) disposeAll(item);
}

function referenceOf({ reference, args }: MovedFunction): ModuleReference {
  return { ...reference, args: decode(args, exchange, true) as unknown[] };
}

async function collateFunction(): Promise<Collate> {
  const { collate } = plan;
  if (collate === "main") return (samples: unknown) => samples;
  if (collate === "default") return plan.isSingle ? defaultConvert : defaultCollate;
  const reference = referenceOf(collate);
  const fn = await importReferenced(reference);
  return (samples: unknown) => fn(samples, ...reference.args);
}

async function start(): Promise<LoaderWorker> {
  random.start(plan.firstBaseSeed + BigInt(id));
  const info = { id, numWorkers: plan.numWorkers, seed: random.seed };
  setWorkerInfo({ ...info, dataset: null });
  const dataset = await makeMoved(plan.dataset, exchange);
  setWorkerInfo({ ...info, dataset });
  if (plan.init !== null) await followReference(referenceOf(plan.init), id);
  return new LoaderWorker(dataset, await collateFunction(), random.seed);
}

const tasks: Task[] = [];
let isBusy = true;

async function work(worker: LoaderWorker): Promise<void> {
  isBusy = true;
  for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
    if (task.type !== "stop") await worker.run(task);
    else {
      await worker.close();
      process.exit(0);
    }
  }
  isBusy = false;
}

let started: LoaderWorker | undefined;
port.on("message", (task: Task) => {
  tasks.push(task);
  if (started !== undefined && !isBusy) void work(started);
});
port.on("close", () => process.exit(0));
try {
  started = await start();
  send({ type: "ready" });
} catch (error) {
  send({ type: "failed", error: encodeError(error) });
  process.exit(1);
}
await work(started);
