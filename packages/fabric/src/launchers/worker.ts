// The rank's side of launching a function: which call of the program it was started for, the arguments, and the way of the result back.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  ConfigurationError,
  cuda,
  distributed,
  getRngState,
  isEngineLoaded,
  setRngState,
  type Tensor,
} from "@fabric-ts/torch";
import { reportPhase } from "../environments/rank-channel.js";
import { finishAll } from "../utilities/background.js";
import { moveDataToDevice } from "../utilities/move-data-to-device.js";
import { type ErrorFacts, errorFrom } from "./error-copy.js";
import { checkResult, type PackedArguments, unpackArguments } from "./transfer.js";

/** internal: in the environment of a rank, which function call it was started for. */
export interface WorkerTask {
  /** The launching process' folder with a file for each call and for each result. */
  folder: string;
  /** The number of the call among those of the launching process. */
  call: number;
  /** How many launching calls of its own the rank passes before it comes to this one. */
  passes: number;
}

/** internal: how the function is to be found where the script is not run again. */
export interface WorkerProgram {
  module: string;
  export: string;
  /** The options of `new Fabric(...)`. */
  options: Record<string, unknown>;
}

/** internal: what the launching process leaves for its ranks. */
export interface CallFile {
  args: PackedArguments;
  random: RandomStates | null;
  program: WorkerProgram | null;
}

/** internal: what a call came to. */
export type ResultFile = { value: unknown } | { error: ErrorFacts };

interface RandomStates {
  cpu: Tensor;
  cuda: Tensor[];
}

/** internal: the variable with the `WorkerTask`. */
export const taskVariable = "FABRIC_FUNCTION_CALL";

// Processes that the rank starts have no part in this.
const task = readTask();
let passed = 0;

/** internal: counts a launching call of this process; undefined in one that is no rank of such a call. */
export function nextCall(): { isMine: boolean; call: number } | undefined {
  const number = passed++;
  if (task === undefined || number > task.passes) return undefined;
  return { isMine: number === task.passes, call: number };
}

/** internal: the result of a call that the launching process had made before: its value again, or its error. */
export async function earlierResult(call: number): Promise<unknown> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(join(needTask().folder, resultName(call)));
  } catch {
    // The launching process did not wait for it either.
    return await new Promise<never>(() => {});
  }
  return outcomeOf(distributed.decodeObject(bytes) as ResultFile);
}

/** internal: the program of a rank that does not run the script. */
export function workerProgram(): WorkerProgram {
  const { program } = readCall();
  if (program === null) throw new Error("internal: this call has no program of its own.");
  return program;
}

/**
 * internal: runs the function that this rank was started for, and ends the process: with an error where it throws, otherwise with
 * the first rank's result in the launching process' folder.
 */
export async function runAsWorker(fn: (...args: unknown[]) => unknown, own: readonly unknown[]): Promise<never> {
  try {
    const { args, random } = readCall();
    if (random !== null) restoreRandomStates(random);
    const given = unpackArguments(args, own);
    reportPhase("launched");
    const value = await fn(...given);
    await finishAll();
    if (process.env.LOCAL_RANK === "0") leaveResult(value);
  } catch (error) {
    // The program does not get to see it, and go on: the launching process is told.
    queueMicrotask(() => {
      throw error;
    });
    return await new Promise<never>(() => {});
  }
  process.exit();
}

/** internal: the states of the default generators; null where the engine is not loaded and they are as at its start. */
export function randomStates(): RandomStates | null {
  if (!isEngineLoaded()) return null;
  const devices = Array.from({ length: cuda.deviceCount() }, (_, index) => `cuda:${index}`);
  return { cpu: getRngState(), cuda: devices.map((device) => getRngState(device).cpu()) };
}

function restoreRandomStates(states: RandomStates): void {
  setRngState(states.cpu);
  for (const [index, state] of states.cuda.entries()) setRngState(state, `cuda:${index}`);
}

/** internal: a result as a value or an error. */
export function outcomeOf(result: ResultFile): unknown {
  if ("value" in result) return result.value;
  throw errorFrom(result.error);
}

/** internal: names of the files in the folder. */
export const callName = (call: number): string => `call-${call}`;
/** internal: names of the files in the folder. */
export const resultName = (call: number): string => `result-${call}`;

/** internal: writes a file for another process, whole or not at all. Throws a `ConfigurationError` when there is no room for it. */
export function writeForOthers(path: string, content: CallFile | ResultFile): void {
  const bytes = distributed.encodeObject(content);
  try {
    writeFileSync(path, bytes, { mode: 0o600 });
  } catch (cause) {
    rmSync(path, { force: true });
    const what = "value" in content || "error" in content ? "result" : "arguments";
    throw new ConfigurationError(
      `The ${what} of \`fabric.launch()\`, ${bytes.length} bytes, cannot be written for the other processes: ${(cause as Error).message}`,
      { hint: "Set TMPDIR to a folder that has room, or send less: a path instead of data.", cause },
    );
  }
}

function leaveResult(value: unknown): void {
  checkResult(value);
  const { folder, call } = needTask();
  writeForOthers(join(folder, resultName(call)), { value: moveDataToDevice(value, "cpu") });
}

function readCall(): CallFile {
  const { folder, call } = needTask();
  return distributed.decodeObject(readFileSync(join(folder, callName(call)))) as CallFile;
}

function needTask(): WorkerTask {
  if (task === undefined) throw new Error("internal: this process is no rank of a launched function.");
  return task;
}

function readTask(): WorkerTask | undefined {
  const text = process.env[taskVariable];
  delete process.env[taskVariable];
  return text === undefined ? undefined : (JSON.parse(text) as WorkerTask);
}
