// Runs one job in which something goes wrong, and checks what holds for every such job: it ends in time, says what happened, leaves no
// process and no file, and the last complete checkpoint is what was saved.
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import * as torch from "@fabric-ts/torch";
import { Job, type JobEnd } from "../launchers/job.js";
import type { Launcher } from "./cells.js";

/** From the fault to the end of the launcher, however busy the machine is. On a quiet one it is a tenth of that. */
export const boundMs = 5000;
/** The step from which jobs start, and in whose successor the fault comes. */
export const firstStep = 1;

const filter = (process.env.FABRIC_FAULTS_FILTER ?? "").split(" ").filter(Boolean);

/** A test, unless `npm run test:faults -- --filter` asks for others. `body` returns what the line of the test says behind its title. */
export function cell(title: string, body: () => Promise<string>, options: { skip?: string | false } = {}): void {
  if (!filter.every((word) => title.includes(word))) return;
  it(title, options, async (t) => t.diagnostic(await body()));
}

interface TrainingOptions {
  args?: string[];
  checkpoint?: string | undefined;
  folder?: string | undefined;
  /** The folder for its temporary files (default: a new one). */
  tmp?: string;
  env?: Record<string, string>;
  /** More options of `fabric run`. */
  run?: string[];
}

/** A job of programs/training.ts in a folder of its own. */
export class TrainingJob {
  readonly folder: string;
  readonly job: Job;
  readonly launcher: Launcher;
  /** Called before the folder is removed. */
  readonly cleanups: (() => void)[] = [];

  /** `checkpoint` is what the job goes on from, `folder` where it saves (default: a new one). */
  constructor(launcher: Launcher, world: number, options: TrainingOptions = {}) {
    const { args = [], checkpoint, env = {}, run = [] } = options;
    this.folder = options.folder ?? mkdtempSync(join(tmpdir(), "fabric-fault-"));
    this.launcher = launcher;
    if (checkpoint !== undefined) copyFileSync(checkpoint, this.checkpoint);
    const program = new URL("./programs/training.js", import.meta.url);
    const command = ["run", "--accelerator", "cpu", "--devices", String(world), ...run];
    const own = ["--launcher", launcher, "--world", String(world), "--folder", this.folder];
    const { tmp } = options;
    this.job = new Job(program, [...own, ...args], { env, tmp, ...(launcher === "run" ? { command } : {}) });
  }

  get checkpoint(): string {
    return join(this.folder, "last.ckpt");
  }

  /** What the fault announced before it came. */
  get fault(): { at: number; pid: number } {
    const path = join(this.folder, "fault.json");
    assert.ok(existsSync(path), `the fault never came:\n${this.output}`);
    return JSON.parse(readFileSync(path, "utf8")) as { at: number; pid: number };
  }

  get output(): string {
    return `${this.job.stdout}${this.job.stderr}`;
  }

  /** What the launcher says at the end, without the lines of the ranks before it. */
  get report(): string {
    return this.job.stderr.slice(Math.max(0, this.job.stderr.search(/Ranks? \d.*the job has ended/)));
  }

  /** The end of the job, which has to come `withinMs` after the fault; and how long it took. */
  async end(withinMs = boundMs): Promise<JobEnd & { tookMs: number }> {
    const end = await this.job.end;
    const tookMs = end.at - this.fault.at;
    assert.ok(tookMs <= withinMs, `the job ended only ${tookMs} ms after the fault:\n${this.output}`);
    return { ...end, tookMs };
  }

  /**
   * Nothing is left but the checkpoint of a step that was saved, whole; a file that a killed rank was writing is removed by the next who saves
   * there. `endsAt` is the step of a job that came to its end. Removes the folder.
   */
  async assertIntact(
    reference: Reference,
    options: { isKilled?: boolean; keepsFiles?: boolean; endsAt?: number | undefined } = {},
  ): Promise<void> {
    const { isKilled = false, keepsFiles = false, endsAt } = options;
    await this.job.assertClean({ keepsFiles });
    const saved = existsSync(join(this.folder, "saved.txt"))
      ? Number(readFileSync(join(this.folder, "saved.txt"), "utf8").trim().split("\n").at(-1))
      : firstStep;
    const checkpoint = await torch.load(this.checkpoint);
    const { step } = checkpoint as { step: number };
    assert.ok(step === saved || step === saved + 1, `the checkpoint is of step ${step}, step ${saved} was saved`);
    if (endsAt !== undefined) assert.equal(step, endsAt);
    assert.deepEqual(plain(checkpoint), plain(await torch.load(reference.at(step))), "the checkpoint has other values");
    const others = (): string[] =>
      readdirSync(this.folder).filter((name) => !["last.ckpt", "saved.txt", "fault.json"].includes(name));
    if (isKilled && others().length > 0) await torch.save({}, this.checkpoint);
    assert.deepEqual(others(), [], "files are left");
    this.remove();
  }

  /** Removes the folder. */
  remove(): void {
    for (const cleanup of this.cleanups) cleanup();
    rmSync(this.folder, { recursive: true });
  }
}

/** The checkpoints of an undisturbed run that went on from the first step, by step. */
export class Reference {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async make(world: number, steps: number): Promise<Reference> {
    const run = async (last: number, folder?: string): Promise<string> => {
      const args = ["--keep", "--steps", String(last)];
      const training = new TrainingJob("script", world, { args, folder });
      assert.equal((await training.job.end).code, 0, training.output);
      await training.job.assertClean();
      return training.folder;
    };
    // The first step of a process adds up gradients in another order than the following ones, which three and more ranks can see.
    return new Reference(await run(steps, await run(firstStep)));
  }

  at(step: number): string {
    return join(this.#folder, `step-${step}.ckpt`);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }
}

/** The exit code of the launcher after a rank has failed in this way. */
export function exitCode(launcher: Launcher, fault: string): number {
  // There the launching process has an error that nobody catches.
  if (launcher === "spawn" || fault === "throw" || fault === "loop") return 1;
  return fault === "exit" ? 3 : 128 + constants.signals[fault as NodeJS.Signals];
}

/** How long something took, for the line of a test. */
export function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

// Values in which every difference is one.
function plain(value: unknown): unknown {
  if (value instanceof torch.Tensor) return [value.dtype, value.shape, value.tolist()];
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return [...value].map(plain);
  if (typeof value === "object" && value !== null) return Object.entries(value).map(plain);
  return value;
}
