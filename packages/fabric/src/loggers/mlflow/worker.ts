// The thread in which an MLflow run is sent: training loops may keep the main thread busy for as long as they like.

import type { MessagePort } from "node:worker_threads";
import { workerData } from "node:worker_threads";
import type { Batch } from "./queue.js";
import { MLflowSender, type RunStatus, type SenderOptions } from "./sender.js";

/** internal: what the thread is started with. */
export interface WorkerData {
  port: MessagePort;
  /** Its one number becomes 1 when the run has ended. */
  done: Int32Array;
  options: SenderOptions;
}

/** internal: messages to the thread. */
export type ToWorker =
  | { type: "items"; items: Partial<Batch> }
  | { type: "finish"; status: RunStatus; milliseconds: number };

/** internal: messages from the thread. */
export type FromWorker = { type: "run"; runId: string } | { type: "warning"; text: string } | { type: "done" };

const { port, done, options } = workerData as WorkerData;
const tell = (message: FromWorker): void => port.postMessage(message);

const sender = new MLflowSender(options, {
  onRun: (runId) => tell({ type: "run", runId }),
  onWarning: (text) => tell({ type: "warning", text }),
});

port.on("message", (message: ToWorker) => {
  if (message.type === "items") sender.add(message.items);
  else void finish(message.status, message.milliseconds);
});

async function finish(status: RunStatus, milliseconds: number): Promise<void> {
  await sender.finish(status, milliseconds);
  tell({ type: "done" });
  Atomics.store(done, 0, 1);
  Atomics.notify(done, 0);
  port.close();
}
