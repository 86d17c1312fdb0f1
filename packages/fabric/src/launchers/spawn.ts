// Runs a function in new processes and gives its result back: the launching process stays what it was, and is no rank. A function cannot be
// sent in JavaScript. So the ranks run the same program up to the same call of `launch()`, where they find the function; or they import it
// from a module that is named.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DistributedError, distributed, UsageError } from "@fabric-ts/torch";
import type { ClusterEnvironment } from "../environments/cluster-environment.js";
import { errorFrom, factsOf } from "./error-copy.js";
import { type FunctionReference, importFunction, resolveReference } from "./function-reference.js";
import { Launcher } from "./launcher.js";
import { runLocalJob } from "./local-job.js";
import { checkIsNoRank, placeOf, runsInPlace } from "./place.js";
import { type Command, preload, programCommand } from "./program.js";
import { createRendezvousDirectory, removeRendezvousDirectory } from "./rendezvous-directory.js";
import { type JobEnd, reportOf } from "./supervisor.js";
import { packArguments } from "./transfer.js";
import {
  type CallFile,
  callName,
  earlierResult,
  nextCall,
  outcomeOf,
  type ResultFile,
  randomStates,
  resultName,
  runAsWorker,
  taskVariable,
  type WorkerTask,
  writeForOthers,
} from "./worker.js";

const workerProgram = fileURLToPath(new URL("../cli/worker.js", import.meta.url));

/** Launches a function in `numProcesses` new processes on each of `numNodes` machines: `Fabric({ strategy: "ddp_spawn" })`. */
export class SpawnLauncher extends Launcher {
  readonly isInteractiveCompatible = true;
  readonly #environment: ClusterEnvironment;
  readonly #numProcesses: number;
  readonly #numNodes: number;

  constructor(environment: ClusterEnvironment, numProcesses: number, numNodes = 1) {
    super();
    this.#environment = environment;
    this.#numProcesses = numProcesses;
    this.#numNodes = numNodes;
  }

  override get requiresFunction(): boolean {
    return true;
  }

  /**
   * In a rank, under a cluster's own launcher and with a single process: runs `fn` here. Otherwise starts the ranks, which run the
   * program up to this call, and resolves with the result of the first of them. Rejects with a `DistributedError` when a rank fails.
   */
  async launch<A extends unknown[], T>(fn: (...args: A) => T | Promise<T>, ...args: A): Promise<T> {
    this.#environment.validateSettings(this.#numProcesses, this.#numNodes);
    const rank = this.#countCall();
    if (rank?.isMine) return await runAsWorker(fn as (...args: unknown[]) => unknown, args);
    if (rank) return (await earlierResult(rank.call)) as T;
    if (this.#runsInPlace()) return await fn(...args);
    return (await recorded(async (call) => {
      const command = (localRank: number): Command => programCommand(localRank, preload);
      return await this.#start(call, call, command, { args: packArguments(args), program: null });
    })) as T;
  }

  /**
   * internal: the same for a function that the ranks import. `options` gives those of their `Fabric`; `here` runs the function where nothing
   * is started.
   */
  async launchReference(
    reference: FunctionReference,
    options: () => Record<string, unknown>,
    args: unknown[],
    here: (fn: (...args: unknown[]) => unknown) => unknown,
  ): Promise<unknown> {
    this.#environment.validateSettings(this.#numProcesses, this.#numNodes);
    const rank = this.#countCall();
    if (rank) return await earlierResult(rank.call);
    if (this.#runsInPlace()) return await here(await importFunction(reference));
    return await recorded(async (call) => {
      const program = { ...resolveReference(reference), options: options() };
      await importFunction(reference);
      const { execPath, debugPort, env } = process;
      const facts = { execPath, debugPort, env, execArgv: loaderFlags(), argv: [execPath, workerProgram] };
      const command = (localRank: number): Command => programCommand(localRank, preload, facts);
      return await this.#start(call, 0, command, { args: packArguments(args, { ownObjects: false }), program });
    });
  }

  // The launching process and its ranks have to count alike: every call that would start processes there.
  #countCall(): ReturnType<typeof nextCall> {
    return this.#numProcesses * this.#numNodes > 1 ? nextCall() : undefined;
  }

  #runsInPlace(): boolean {
    return runsInPlace(this.#environment, this.#numProcesses, this.#numNodes);
  }

  async #start(
    call: number,
    passes: number,
    command: (localRank: number) => Command,
    content: Omit<CallFile, "random">,
  ): Promise<unknown> {
    checkIsNoRank(this.#environment);
    const folder = callFolder();
    const path = join(folder, callName(call));
    // What cannot be sent is found out before there are processes.
    writeForOthers(path, { ...content, random: randomStates() });
    const task: WorkerTask = { folder, call, passes };
    try {
      const end = await runLocalJob({
        ...placeOf(this.#environment, this.#numProcesses, this.#numNodes),
        command,
        env: () => ({ [taskVariable]: JSON.stringify(task) }),
        takesInput: false,
        reports: false,
      });
      return resultOf(end, join(folder, resultName(call)));
    } finally {
      rmSync(path, { force: true });
    }
  }
}

let calls = 0;

/** Gives the call its number and keeps its error, if it has one, for the ranks of later calls: they come by here, too. */
async function recorded<T>(start: (call: number) => Promise<T>): Promise<T> {
  const call = calls++;
  try {
    return await start(call);
  } catch (error) {
    try {
      writeForOthers(join(callFolder(), resultName(call)), { error: factsOf(error as Error) });
    } catch {
      // No room for the note either; the first error is the one to see.
    }
    throw error;
  }
}

let sharedFolder: string | undefined;

/** Made once, and removed at the end of the process: the ranks of a later call look up the results of earlier ones. */
function callFolder(): string {
  if (sharedFolder === undefined) {
    const folder = createRendezvousDirectory();
    process.on("exit", () => removeRendezvousDirectory(folder));
    sharedFolder = folder;
  }
  return sharedFolder;
}

function resultOf(end: JobEnd, path: string): unknown {
  const { signal, failed, ranks } = end;
  if (signal) {
    // Whoever has a handler of his own decides himself what a signal means.
    if (process.listenerCount(signal) === 0) process.exit(end.code);
    throw new DistributedError(`${signal} has ended the launched processes.`, { code: "ERR_SIGNAL" });
  }
  if (failed) {
    const { error, spawnError } = failed;
    const cause = error ? errorFrom({ ...error, stack: error.text }) : spawnError;
    throw new DistributedError(reportOf(end, { short: true }).trimEnd(), { code: "ERR_RANK_FAILED", cause });
  }
  if (existsSync(path)) return outcomeOf(distributed.decodeObject(readFileSync(path)) as ResultFile);
  if (ranks.some(({ phase }) => phase !== "starting")) {
    throw new UsageError("The ranks have ended before the launched function had returned.", {
      hint: "Does it call `process.exit()`, or await something that never comes?",
    });
  }
  throw new UsageError("The ranks have ended without coming to this call of `fabric.launch()`.", {
    hint: "They run the same program, which has to make the same calls there: what stands before this one may not depend on who runs it.",
  });
}

/** The flags of this process without those that say what program it is. */
function loaderFlags(): string[] {
  const flags: string[] = [];
  for (let i = 0; i < process.execArgv.length; i++) {
    const flag = process.execArgv[i] as string;
    if (/^(-e|-p|-pe|--eval|--print)$/.test(flag)) i++;
    else if (!/^(-i|--interactive|--input-type(=.*)?|--eval=.*|--print=.*)$/.test(flag)) flags.push(flag);
  }
  return flags;
}
