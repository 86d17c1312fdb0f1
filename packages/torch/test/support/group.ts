// Runs a script as several processes of one group and collects what each of them reports. A process that is left over
// fails the test. The other half, for the script, is rank.ts.
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** How a group is run. */
export interface GroupRun {
  /** Number of processes. Default: 2. */
  ranks?: number;
  /** Passed to the script as `args`. */
  args?: unknown;
  /** More environment variables. */
  env?: Record<string, string>;
  /** All processes are killed after this time. Default: 60 s. */
  timeoutMs?: number;
  /** Called when a rank writes a line that begins with "@", with the rest of it. */
  onSignal?: (rank: number, text: string, processes: readonly ChildProcess[]) => void;
}

/** What became of one process. */
export interface RankOutcome<T> {
  rank: number;
  code: number | null;
  signal: string | null;
  /** What the rank's body returned; undefined when it did not get that far. */
  value: T | undefined;
  output: string;
}

/** Runs case `name` of a compiled script (relative to the caller's `import.meta.url`) on every rank. */
export async function runGroup<T>(
  caller: string,
  script: string,
  name: string,
  run: GroupRun = {},
): Promise<RankOutcome<T>[]> {
  const { ranks = 2, timeoutMs = 60_000 } = run;
  const folder = mkdtempSync(join(tmpdir(), "fabric-group-"));
  const marker = randomUUID();
  const processes: ChildProcess[] = [];
  const outcomes: Promise<RankOutcome<T>>[] = [];
  try {
    for (let rank = 0; rank < ranks; rank++) {
      const child = spawn(process.execPath, [fileURLToPath(new URL(script, caller)), name], {
        env: {
          ...process.env,
          OMP_NUM_THREADS: "1",
          RANK: String(rank),
          WORLD_SIZE: String(ranks),
          TEST_STORE: join(folder, "store"),
          TEST_ARGS: JSON.stringify(run.args ?? null),
          TEST_GROUP: marker,
          ...run.env,
        },
        stdio: ["ignore", "pipe", "pipe"],
      });
      processes.push(child);
      outcomes.push(outcomeOf<T>(child, rank, (text) => run.onSignal?.(rank, text, processes)));
    }
    const late = AbortSignal.timeout(timeoutMs);
    late.addEventListener("abort", () => {
      for (const child of processes) child.kill("SIGKILL");
    });
    const done = await Promise.all(outcomes);
    if (late.aborted)
      throw new Error(`The group was not done after ${timeoutMs} ms.\n${done.map((one) => one.output).join("\n")}`);
    const left = await leftOver(marker);
    if (left.length > 0) throw new Error(`Processes ${left.join(", ")} were left over.`);
    return done;
  } finally {
    for (const child of processes) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The values of all ranks; throws with the output of those that failed. */
export async function groupValues<T>(caller: string, script: string, name: string, run: GroupRun = {}): Promise<T[]> {
  const outcomes = await runGroup<T>(caller, script, name, run);
  const failed = outcomes.filter(({ code, value }) => code !== 0 || value === undefined);
  if (failed.length > 0) {
    throw new Error(
      failed
        .map(({ rank, code, signal, output }) => `Rank ${rank} ended with ${signal ?? code}:\n${output}`)
        .join("\n"),
    );
  }
  return outcomes.map(({ value }) => value as T);
}

function outcomeOf<T>(child: ChildProcess, rank: number, onSignal: (text: string) => void): Promise<RankOutcome<T>> {
  let output = "";
  let pending = "";
  let value: T | undefined;
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    const lines = (pending + text).split("\n");
    pending = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith("=")) value = JSON.parse(line.slice(1)) as T;
      else if (line.startsWith("@")) onSignal(line.slice(1));
      else output += `${line}\n`;
    }
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ rank, code, signal, value, output }));
  });
}

/** Processes of the group that still run, by an environment variable that their children inherit. */
async function leftOver(marker: string): Promise<string[]> {
  if (process.platform !== "linux") return [];
  for (let attempt = 0; ; attempt++) {
    const found = readdirSync("/proc").filter((name) => {
      if (!/^\d+$/.test(name)) return false;
      try {
        return readFileSync(`/proc/${name}/environ`, "latin1").includes(`TEST_GROUP=${marker}`);
      } catch {
        return false;
      }
    });
    if (found.length === 0 || attempt === 10) return found;
    await sleep(50);
  }
}
