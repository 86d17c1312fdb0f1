// Starts a program as a user would and looks at everything a job must not leave behind: processes, files, listeners.
import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

// Compiled beside this package's tests; the compiler sees one package's tests at a time.
const { listenersOf } = (await import(
  new URL("../../../torch/dist-test/support/listeners.js", import.meta.url).href
)) as { listenersOf(pid: number): string[] };

/** The `fabric` command. */
export const fabricCommand = fileURLToPath(new URL("../../bundle/cli/main.js", import.meta.url));

const inherited = [
  "NODE_TEST_CONTEXT",
  "LOCAL_RANK",
  "NODE_RANK",
  "GROUP_RANK",
  "RANK",
  "WORLD_SIZE",
  "MASTER_ADDR",
  "MASTER_PORT",
];

/** How a job ended. */
export interface JobEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** `Date.now()` at the exit of the launcher. */
  at: number;
}

/** A running job. */
export class Job {
  readonly launcher: ChildProcessByStdio<null, Readable, Readable>;
  /** The launcher's process id. */
  readonly pid: number;
  readonly end: Promise<JobEnd>;
  /** The job's own folder for temporary files. */
  readonly tmp: string;
  stdout = "";
  stderr = "";
  readonly #mark = `FABRIC_TEST_JOB=${randomUUID()}`;

  /** `command` is the start of the command line of `fabric`, such as ["run", "--devices", "2"]; without it Node runs the program. */
  constructor(
    program: string | URL,
    args: readonly string[],
    options: {
      env?: Record<string, string | undefined>;
      tmp?: string;
      flags?: string[];
      command?: string[];
      cwd?: string;
    } = {},
  ) {
    this.tmp = options.tmp ?? mkdtempSync(join(tmpdir(), "fabric-launch-test-"));
    const env: Record<string, string | undefined> = { ...process.env, TMPDIR: this.tmp, ...options.env };
    for (const name of inherited) delete env[name];
    const [name, value] = this.#mark.split("=") as [string, string];
    env[name] = value;
    const path = fileURLToPath(program instanceof URL ? program : new URL(`./programs/${program}.js`, import.meta.url));
    const { flags = [], command, cwd } = options;
    const through = command === undefined ? [] : [fabricCommand, ...command];
    // Detached: a process group of its own, as a shell would give it.
    this.launcher = spawn(process.execPath, [...flags, ...through, path, ...args], {
      env,
      cwd,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.launcher.stdout.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    this.launcher.stderr.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    assert.ok(this.launcher.pid, "the launcher was not started");
    this.pid = this.launcher.pid;
    this.end = new Promise((resolve) => {
      let at = 0;
      this.launcher.on("exit", () => (at = Date.now()));
      this.launcher.on("close", (code, signal) => resolve({ code, signal, at }));
    });
  }

  /** Resolves when the output holds `text`; fails when the job ends before, or after `timeoutMs`. */
  async until(text: string, count = 1, timeoutMs = 20_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    let isOver = false;
    void this.end.then(() => (isOver = true));
    while (`${this.stdout}${this.stderr}`.split(text).length - 1 < count) {
      if (isOver || Date.now() > deadline) {
        throw new Error(`The job never said ${JSON.stringify(text)} ${count} times:\n${this.stdout}\n${this.stderr}`);
      }
      await pause(10);
    }
  }

  /** Ids of the living processes of the job, found by a variable in their environment. */
  processes(): number[] {
    const found: number[] = [];
    for (const name of readdirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        if (readFileSync(`/proc/${name}/environ`, "latin1").includes(this.#mark)) found.push(Number(name));
      } catch {
        // Ended meanwhile, or not ours.
      }
    }
    return found;
  }

  /** Addresses, in the hexadecimal of /proc/net, at which processes of the job listen. */
  listeners(): string[] {
    return this.processes().flatMap(listenersOf);
  }

  /** Asserts that no process is left after `withinMs`, and no file unless `keepsFiles`; removes the temporary folder. */
  async assertClean({ withinMs = 500, keepsFiles = false } = {}): Promise<void> {
    const deadline = Date.now() + withinMs;
    let left = this.processes();
    while (left.length > 0 && Date.now() < deadline) {
      await pause(20);
      left = this.processes();
    }
    assert.deepEqual(left, [], "processes are left");
    if (keepsFiles) return;
    assert.deepEqual(this.rendezvousDirectories(), [], "rendezvous directories are left");
    rmSync(this.tmp, { recursive: true });
  }

  rendezvousDirectories(): string[] {
    return readdirSync(this.tmp).filter((name) => name.startsWith("fabric-"));
  }
}

/** Waits. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** When the program said that it was about to fail (`Date.now()`). */
export function faultTime(job: Job): number {
  const match = /FAULT at (\d+)/.exec(job.stderr);
  assert.ok(match, `no fault was announced:\n${job.stderr}`);
  return Number(match[1]);
}

/** A port of this machine that nobody listens at. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
