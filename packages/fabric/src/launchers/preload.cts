// Runs first in every launched rank, before the program and its loaders: ties the rank's life to the launcher's, reports
// uncaught errors to the launcher instead of printing them, and ends the rank without LibTorch's static destructors, which run in
// a bad order. CommonJS, because only `--require` is this early and synchronous. Its texts also go to other launchers.
import fs = require("node:fs");
import path = require("node:path");
import v8 = require("node:v8");
import util = require("node:util");
import threads = require("node:worker_threads");

interface ProcessAddon {
  dieWithParent(parentPid: number): void;
  mapPage(fd: number): ArrayBuffer;
  exitNow(code: number): never;
}

const maxErrorLength = 64 * 1024;
// Marks an error that tells of another rank's.
const consequence = Symbol.for("@fabric-ts/fabric:consequence");

const channelFd = process.env.FABRIC_RANK_CHANNEL;
const pageFd = process.env.FABRIC_RANK_PAGE;
const addonPath = process.env.FABRIC_PROCESS_ADDON;
const launcherPid = Number(process.env.FABRIC_LAUNCHER_PID);

// Worker threads run preloads too; only the rank itself is meant.
if (threads.isMainThread && channelFd !== undefined) startRank(Number(channelFd));

function startRank(fd: number): void {
  // The user's own line is often below a dozen of ours.
  if (Error.stackTraceLimit === 10) Error.stackTraceLimit = 40;
  // Processes that the rank starts are no ranks: they get neither the variables nor this file.
  delete process.env.FABRIC_RANK_CHANNEL;
  delete process.env.FABRIC_RANK_PAGE;
  delete process.env.FABRIC_PROCESS_ADDON;
  const at = process.execArgv.indexOf(__filename);
  if (at > 0) process.execArgv.splice(at - 1, 2);

  const addon = addonPath === undefined ? undefined : (require(addonPath) as ProcessAddon);
  if (addon) addon.dieWithParent(launcherPid);
  else watchParent();

  const shared = globalThis as Record<symbol, unknown>;
  if (addon && pageFd !== undefined) shared[Symbol.for("@fabric-ts/fabric:rank-page")] = addon.mapPage(Number(pageFd));
  const send = (message: object): void => {
    try {
      fs.writeSync(fd, `${JSON.stringify(message)}\n`);
    } catch {
      // The launcher is gone, and this process is about to follow it.
    }
  };
  shared[Symbol.for("@fabric-ts/fabric:rank-channel")] = { send };

  let exiting = false;
  process.on("uncaughtExceptionMonitor", (error) => {
    // Programs may handle their errors themselves; the monitor sees those too.
    if (process.listenerCount("uncaughtException") > 0 || process.hasUncaughtExceptionCaptureCallback()) return;
    // Where a syntax error is, only Node's own printout says.
    const text = error instanceof SyntaxError ? "" : errorText(error);
    send({
      type: "error",
      name: error instanceof Error ? error.name : "Error",
      message: (error instanceof Error ? error.message : util.inspect(error)).slice(0, maxErrorLength),
      code: error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined,
      text: text.slice(0, maxErrorLength),
      summary: errorSummary(error),
      place: placeOf(error),
      secondary: isSecondary(error),
    });
    if (text === "") return;
    if (exiting) leave(addon, 1);
    process.exit(1);
  });

  // Handlers of the "exit" event run inside this call, so that what follows it comes last, however the process ends.
  const emit = process.emit as (name: string, ...args: unknown[]) => boolean;
  process.emit = function (this: NodeJS.Process, name: string, ...args: unknown[]): boolean {
    if (name !== "exit") return Reflect.apply(emit, this, [name, ...args]) as boolean;
    exiting = true;
    const result = Reflect.apply(emit, this, [name, ...args]) as boolean;
    leave(addon, Number(process.exitCode ?? args[0] ?? 0));
    return result;
  } as typeof process.emit;
}

function leave(addon: ProcessAddon | undefined, code: number): void {
  // Profiles are written by the ordinary end of the process.
  if (addon === undefined || process.execArgv.some((flag) => /^--(cpu-prof|heap-prof|prof)/.test(flag))) return;
  if (process.env.NODE_V8_COVERAGE) v8.takeCoverage();
  addon.exitNow(code);
}

// Without the addon there is no LibTorch either, so the JavaScript thread is never blocked for long.
function watchParent(): void {
  const timer = setInterval(() => {
    if (process.ppid !== launcherPid) process.kill(process.pid, "SIGKILL");
  }, 200);
  timer.unref();
}

function errorSummary(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : `Uncaught ${util.inspect(error)}`;
  return text.split("\n", 1)[0].slice(0, 500);
}

function errorText(error: unknown): string {
  if (!(error instanceof Error)) return `Uncaught ${util.inspect(error)}`;
  // The errors of this project show their hint in the message already.
  const own = "hint" in error && "code" in error;
  if (!own) return withoutInternals(util.inspect(error));
  const cause = error.cause === undefined || error.cause === error ? "" : `\n  [cause]: ${util.inspect(error.cause)}`;
  return withoutInternals(`${error.stack ?? String(error)}${cause}`);
}

/** Without the frames of Node; and without those of Fabric, where others are left: the user's are the ones to look at. */
function withoutInternals(stack: string): string {
  const lines = stack.split("\n").filter((line) => !/^\s+at .*\(?node:internal\//.test(line));
  if (process.env.FABRIC_DEBUG === "1") return lines.join("\n");
  const isFrame = (line: string): boolean => /^\s+at /.test(line);
  const others = lines.filter((line) => !isFrame(line) || !isOwn(line));
  return (others.some(isFrame) ? others : lines).join("\n");
}

/** True for a frame in the code of Fabric or of the LibTorch binding, which lie side by side. */
function isOwn(frame: string): boolean {
  const folder = path.resolve(__dirname, "../../..");
  const at = frame.indexOf(`${folder}/`);
  return at >= 0 && /^(fabric|torch)\/(bundle|dist|src)\//.test(frame.slice(at + folder.length + 1));
}

function isSecondary(error: unknown): boolean {
  return chainOf(error).some((one) => one.name === "DistributedError" || consequence in one);
}

/** Where an error came from, as Fabric noted it. */
function placeOf(error: unknown): string | undefined {
  const places = (globalThis as Record<symbol, unknown>)[Symbol.for("@fabric-ts/fabric:error-places")];
  if (!(places instanceof WeakMap)) return undefined;
  const found = chainOf(error).find((one) => places.has(one));
  return found && (places.get(found) as string);
}

/** An error and its causes. */
function chainOf(error: unknown): Error[] {
  const chain: Error[] = [];
  for (let one = error; chain.length < 8 && one instanceof Error; one = one.cause) chain.push(one);
  return chain;
}

export = { errorSummary, errorText, isSecondary };
