// Saves checkpoints while training runs and keeps the best or the newest of them. What goes is removed only when what replaces it has
// been read back.
import { ConfigurationError, Tensor, UsageError } from "@fabric-ts/torch";
import { AsyncCheckpointIO } from "../checkpoint/async-checkpoint-io.js";
import type { CheckpointPath } from "../checkpoint/checkpoint-io.js";
import { filePath } from "../checkpoint/paths.js";
import { TorchCheckpointIO } from "../checkpoint/torch-checkpoint-io.js";
import { agree } from "../collectives/agree.js";
import type { Fabric } from "../fabric.js";
import { schemeOf } from "../filesystems/address.js";
import { convertTensorsToScalars } from "../utilities/convert.js";
import { checkOptions, describe } from "../utilities/describe.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import { CheckpointName, checkpointExtension } from "./checkpoint-name.js";
import { countIn, FabricSlot, factsOf, isCount } from "./facts.js";
import type { BatchFacts, EpochFacts, HookFacts, RunFacts, SetupFacts } from "./hooks.js";
import { IntervalClock } from "./interval-clock.js";
import { KeptCheckpoints } from "./kept-checkpoints.js";
import { fileSystemFor, latestCheckpoint } from "./latest-checkpoint.js";
import { MonitoredMetric, type MonitorMode } from "./monitored-metric.js";

/** Options of `ModelCheckpoint`. One of `everyNEpochs` (the default, with 1), `everyNTrainSteps` and `everyNMinutes` says when to save. */
export interface ModelCheckpointOptions {
  /** The folder. */
  dirpath: CheckpointPath;
  /**
   * How files are called, without ending: `"{epoch:02d}-{val_loss:.3f}"` becomes `epoch=03-val_loss=0.125.ckpt`. Default: the epoch and the
   * step, as far as they are known.
   */
  filename?: string | undefined;
  /** Put `name=` before each value of the file name (default true). */
  autoInsertMetricName?: boolean | undefined;
  /** The metric by which the best are kept. Without one the newest are. */
  monitor?: string | undefined;
  /** Whether a smaller or a greater value is better (default `"min"`). */
  mode?: MonitorMode | undefined;
  /** How many are kept (default 1); -1 for all, 0 for none. */
  saveTopK?: number | undefined;
  /** Keep the newest as well when it is not among the best (default false). There is no copy of another name: `lastModelPath` tells its path. */
  saveLast?: boolean | undefined;
  /** Save at the end of every n-th epoch. */
  everyNEpochs?: number | undefined;
  /** Save after every n-th optimizer step. */
  everyNTrainSteps?: number | undefined;
  /** Save after the batch that ends when n minutes have passed, by the clock of rank 0. */
  everyNMinutes?: number | undefined;
  /** The hook that ends an epoch (default `"onValidationEnd"` with `monitor`, else `"onTrainEpochEnd"`). */
  hook?: "onValidationEnd" | "onTrainEpochEnd" | undefined;
  /** What is saved, unless the hooks are given another `state`. */
  state?: object | undefined;
}

/** What `ModelCheckpoint` saves, with Lightning's keys as far as Lightning has them. */
export interface ModelCheckpointState {
  monitor: string | null;
  dirpath: string;
  best_model_path: string;
  best_model_score: number | null;
  current_score: number | null;
  /** The scores of the best by path, from the oldest to the newest; null where nothing is monitored. */
  best_k_models: Record<string, number | null>;
  last_model_path: string;
  last_global_step_saved: number;
  /** What this checkpoint replaces, for the case that the process ended before it was removed. */
  to_remove: string[];
}

/**
 * Saves checkpoints at the end of epochs, every n steps or every n minutes, and keeps the best by a metric or the newest. All ranks decide
 * alike. Files appear complete or not at all, and what is replaced is removed only when the new file has been read back. Works
 * with `AsyncCheckpointIO`: reading back and removing then happen before the next save, or at `onTrainEnd`.
 *
 *     const checkpoint = new ModelCheckpoint({ dirpath: "runs/a", monitor: "val_loss", saveTopK: 3, saveLast: true });
 *     const fabric = new Fabric({ callbacks: [checkpoint] });
 *     await fabric.launch();
 *     const [model, optimizer] = fabric.setup(net, adam);
 *     const state = { model, optimizer, checkpoint, epoch: 0 };
 *     const path = await ModelCheckpoint.latest("runs/a", { fabric });
 *     if (path) await fabric.load(path, state);
 *     for (; state.epoch < 10; ) {
 *       // ... train and validate
 *       state.epoch++;
 *       await fabric.call("onValidationEnd", { fabric, epoch: state.epoch - 1, metrics: { val_loss }, state });
 *     }
 *     await fabric.call("onTrainEnd", { fabric });
 */
export class ModelCheckpoint {
  /** The folder. */
  readonly dirpath: string;
  /** What is saved, unless the hooks are given another `state`. */
  state: object | null;
  readonly #metric: MonitoredMetric | null;
  readonly #name: CheckpointName;
  readonly #hook: "onValidationEnd" | "onTrainEpochEnd";
  readonly #everyNEpochs: number;
  readonly #everyNTrainSteps: number;
  readonly #clock: IntervalClock | null;
  readonly #slot = new FabricSlot("ModelCheckpoint");
  #kept: KeptCheckpoints;
  #lastPath = "";
  #lastStep = 0;
  #currentScore: number | null = null;
  /** The checkpoint that has not been read back yet. */
  #unsettled: Unsettled | null = null;
  /** True when what is kept came out of a file: it may have been removed since. */
  #isFromFile = false;
  #isBusy = false;

  /** @throws TypeError for unknown options, ConfigurationError for values that cannot work */
  constructor(options: ModelCheckpointOptions) {
    checkOptions("ModelCheckpoint", options, optionNames);
    const { monitor, mode = "min", saveTopK = 1, saveLast = false, state = null } = options;
    this.dirpath = folderOf(options.dirpath);
    this.state = state;
    this.#metric =
      monitor === undefined || monitor === null ? null : new MonitoredMetric("ModelCheckpoint", monitor, mode);
    this.#name = new CheckpointName(options.filename, options.autoInsertMetricName ?? true);
    this.#hook = options.hook ?? (this.#metric === null ? "onTrainEpochEnd" : "onValidationEnd");
    checkValues(this.#hook, saveTopK, options);
    const { everyNTrainSteps, everyNMinutes } = options;
    const isByEpoch = everyNTrainSteps === undefined && everyNMinutes === undefined;
    this.#everyNEpochs = options.everyNEpochs ?? (isByEpoch ? 1 : 0);
    this.#everyNTrainSteps = everyNTrainSteps ?? 0;
    this.#clock = everyNMinutes === undefined ? null : new IntervalClock(everyNMinutes * 60_000);
    const isBetter = (score: number, other: number): boolean => this.#metric?.isBetter(score, other) ?? false;
    this.#kept = new KeptCheckpoints({ topK: saveTopK, keepsNewest: saveLast, isBetter });
  }

  /**
   * The newest checkpoint in a folder that can be read whole, or null when there is none. With several processes give the `fabric`: rank 0
   * looks, and all get its answer.
   */
  static async latest(dirpath: CheckpointPath, options: { fabric?: Fabric } = {}): Promise<string | null> {
    checkOptions("ModelCheckpoint.latest", options, ["fabric"]);
    const { fabric } = options;
    if (fabric === undefined) return await latestCheckpoint(dirpath, new TorchCheckpointIO());
    const { strategy, isGlobalZero } = fabric;
    const found = await agree(strategy, "Looking for the latest checkpoint", async () =>
      isGlobalZero ? await latestCheckpoint(dirpath, strategy.checkpointIO) : null,
    );
    return await fabric.broadcast(found);
  }

  /** The best checkpoint, or the newest where nothing is monitored; "" when there is none. */
  get bestModelPath(): string {
    return this.#kept.best[0]?.path ?? "";
  }
  /** Its score; null where nothing is monitored. */
  get bestModelScore(): number | null {
    return this.#kept.best[0]?.score ?? null;
  }
  /** The scores of the best by path, best first. */
  get bestKModels(): ReadonlyMap<string, number | null> {
    return new Map(this.#kept.best.map(({ path, score }) => [path, score]));
  }
  /** The checkpoint that was saved last; "" when there is none. */
  get lastModelPath(): string {
    return this.#lastPath;
  }

  /**
   * Saves now, without hooks, if the checkpoint is to be kept. All ranks call it, with what a hook would be given; `epoch` and `step` go into the
   * file's name. Returns the path, or null when the checkpoint is not good enough.
   */
  async save(fabric: Fabric, facts: HookFacts): Promise<string | null> {
    return await this.#alone(() => this.#save(fabric, facts, "save"));
  }

  /** Waits for a checkpoint that is being written in the background, reads it back, and removes what it replaces. All ranks call it. */
  async finish(fabric: Fabric): Promise<void> {
    await this.#alone(() => this.#settle(fabric));
  }

  onAfterSetup({ fabric }: SetupFacts): void {
    this.#slot.set(fabric);
  }
  onTrainStart(): void {
    this.#clock?.start();
  }
  async onTrainBatchEnd(given: BatchFacts): Promise<void> {
    if (this.#everyNTrainSteps === 0 && this.#clock === null) return;
    const facts = factsOf("ModelCheckpoint", "onTrainBatchEnd", given);
    const fabric = this.#slot.from(facts);
    if (this.#clock === null) {
      const step = countIn("ModelCheckpoint", "onTrainBatchEnd", facts, "step");
      // While gradients are accumulated the step stays the same.
      if (step % this.#everyNTrainSteps !== 0 || step === this.#lastStep) return;
    } else if (!(await this.#clock.isOver(fabric))) return;
    await this.#alone(() => this.#save(fabric, facts, "onTrainBatchEnd"));
    this.#clock?.start();
  }
  async onValidationEnd(facts: EpochFacts): Promise<void> {
    await this.#onEpoch("onValidationEnd", facts);
  }
  async onTrainEpochEnd(facts: EpochFacts): Promise<void> {
    await this.#onEpoch("onTrainEpochEnd", facts);
  }
  async onTrainEnd(facts: RunFacts = {}): Promise<void> {
    if (this.#unsettled !== null) await this.finish(this.#slot.from(facts));
  }

  stateDict(): ModelCheckpointState {
    const best = new Set(this.#kept.best);
    return {
      monitor: this.#metric?.name ?? null,
      dirpath: this.dirpath,
      best_model_path: this.bestModelPath,
      best_model_score: this.bestModelScore,
      current_score: this.#currentScore,
      best_k_models: Object.fromEntries(
        this.#kept.all.filter((one) => best.has(one)).map(({ path, score }) => [path, score]),
      ),
      last_model_path: this.#lastPath,
      last_global_step_saved: this.#lastStep,
      to_remove: [...(this.#unsettled?.removed ?? [])],
    };
  }
  /** Goes on from a saved state. With another `dirpath` or `monitor` than then, the checkpoints of then are left alone. */
  loadStateDict(state: ModelCheckpointState): void {
    const saved = convertTensorsToScalars(state) as ModelCheckpointState | null;
    if (typeof saved?.dirpath !== "string" || typeof saved.best_k_models !== "object" || saved.best_k_models === null) {
      throw new TypeError(
        `Expected the state of ModelCheckpoint to have \`dirpath\` and \`best_k_models\`, but got ${describe(state)}.`,
      );
    }
    this.#kept = this.#kept.emptied();
    this.#unsettled = null;
    this.#lastPath = "";
    this.#lastStep = saved.last_global_step_saved ?? 0;
    this.#currentScore = saved.current_score ?? null;
    const monitor = this.#metric?.name ?? null;
    if (saved.dirpath !== this.dirpath || (saved.monitor ?? null) !== monitor) {
      const [what, then, now] =
        saved.dirpath === this.dirpath ? ["monitor", saved.monitor, monitor] : ["dirpath", saved.dirpath, this.dirpath];
      rankZeroWarn(
        `ModelCheckpoint: \`${what}\` was ${describe(then)} and is ${describe(now)} now. What was saved before is left alone.`,
      );
      return;
    }
    for (const [path, score] of entriesOf(saved.best_k_models)) this.#kept = this.#kept.with({ path, score }).next;
    const last = saved.last_model_path ?? "";
    if (last === "") return;
    this.#lastPath = last;
    if (!this.#kept.has(last)) this.#kept = this.#kept.with({ path: last, score: this.#currentScore }).next;
    this.#isFromFile = true;
    const removed = (saved.to_remove ?? []).filter((path) => !this.#kept.has(path));
    if (removed.length > 0) this.#unsettled = { path: last, removed, before: this.#snapshot() };
  }

  async #onEpoch(hook: "onValidationEnd" | "onTrainEpochEnd", given: EpochFacts): Promise<void> {
    if (this.#everyNEpochs === 0 || hook !== this.#hook) return;
    const facts = factsOf("ModelCheckpoint", hook, given);
    const epoch = countIn("ModelCheckpoint", hook, facts, "epoch");
    if ((epoch + 1) % this.#everyNEpochs !== 0) return;
    await this.#alone(() => this.#save(this.#slot.from(facts), facts, hook));
  }

  async #save(fabric: Fabric, facts: HookFacts, hook: string): Promise<string | null> {
    const state = facts.state ?? this.state;
    if (typeof state !== "object" || state === null) {
      throw new UsageError(`ModelCheckpoint was told nothing to save: \`state\` is ${describe(state)}.`, {
        hint: `Pass it, \`await fabric.call("${hook}", { state: { model, optimizer }, ... })\`, or set \`checkpoint.state\`.`,
      });
    }
    await this.#settle(fabric);
    await this.#forgetMissing(fabric);
    const score = this.#metric === null ? null : await this.#metric.read(fabric, facts.metrics, hook);
    this.#currentScore = score;
    if (this.#kept.with({ path: "", score }).removed.includes("")) return null;
    const path = await this.#newPath(fabric, facts, score);

    const before = this.#snapshot();
    const { next, removed } = this.#kept.with({ path, score });
    this.#kept = next;
    this.#lastPath = path;
    if (isCount(facts.step)) this.#lastStep = facts.step;
    this.#unsettled = { path, removed, before };
    try {
      await fabric.save(path, state);
    } catch (error) {
      this.#goBack(before);
      throw error;
    }
    // What is written in the background would be waited for.
    if (!(fabric.strategy.checkpointIO instanceof AsyncCheckpointIO)) await this.#settle(fabric);
    return path;
  }

  /** Reads the last checkpoint back and removes what it replaces; when it cannot be read, all is as it was before it. */
  async #settle(fabric: Fabric): Promise<void> {
    const unsettled = this.#unsettled;
    if (unsettled === null) return;
    const { strategy, isGlobalZero } = fabric;
    const io = strategy.checkpointIO;
    try {
      await agree(strategy, "Reading the new checkpoint back", async () => {
        if (isGlobalZero) await io.loadCheckpoint(unsettled.path);
      });
    } catch (error) {
      this.#goBack(unsettled.before);
      if (isGlobalZero) await Promise.resolve(io.removeCheckpoint(unsettled.path)).catch(() => {});
      throw error;
    }
    this.#unsettled = null;
    if (!isGlobalZero) return;
    for (const path of unsettled.removed) {
      try {
        await io.removeCheckpoint(path);
      } catch (error) {
        // Nothing is lost, and no other rank knows of it.
        rankZeroWarn(`ModelCheckpoint: an old checkpoint stays. ${(error as Error).message}`);
      }
    }
  }

  /** Checkpoints that somebody removed take no place among the best. */
  async #forgetMissing(fabric: Fabric): Promise<void> {
    const files = fileSystemFor(this.dirpath, fabric.strategy.checkpointIO);
    if (!this.#isFromFile || files === null) return;
    const paths = this.#kept.all.map(({ path }) => path);
    const there = await agree(fabric.strategy, "Looking for kept checkpoints", async () =>
      fabric.isGlobalZero ? await Promise.all(paths.map(async (path) => (await files.stat(path)) !== null)) : [],
    ).then((found) => fabric.broadcast(found));
    this.#kept = this.#kept.without(paths.filter((_, i) => !there[i]));
    this.#isFromFile = false;
  }

  /** A path that no other checkpoint has, as rank 0 finds it. */
  async #newPath(fabric: Fabric, facts: HookFacts, score: number | null): Promise<string> {
    const path = await agree(fabric.strategy, "Naming the checkpoint", async () => {
      if (!fabric.isGlobalZero) return "";
      const values = numbersIn({ ...facts.metrics, epoch: facts.epoch, step: facts.step });
      if (this.#metric !== null && score !== null) values[this.#metric.name] = score;
      const files = fileSystemFor(this.dirpath, fabric.strategy.checkpointIO);
      const start = `${this.dirpath}/${this.#name.of(values)}`;
      for (let version = 0; ; version++) {
        const candidate = `${start}${version === 0 ? "" : `-v${version}`}${checkpointExtension}`;
        if (this.#kept.has(candidate) || !(await files?.stat(candidate))) return candidate;
      }
    });
    return await fabric.broadcast(path);
  }

  /** Hooks that are not awaited would save while training goes on. */
  async #alone<T>(task: () => Promise<T>): Promise<T> {
    if (this.#isBusy) {
      throw new UsageError("ModelCheckpoint has not finished with the hook before.", {
        hint: "Await the calls of hooks: `await fabric.call(...)`.",
      });
    }
    this.#isBusy = true;
    try {
      return await task();
    } finally {
      this.#isBusy = false;
    }
  }

  #snapshot(): Snapshot {
    return { kept: this.#kept, lastPath: this.#lastPath, lastStep: this.#lastStep };
  }
  #goBack({ kept, lastPath, lastStep }: Snapshot): void {
    this.#kept = kept;
    this.#lastPath = lastPath;
    this.#lastStep = lastStep;
    this.#unsettled = null;
  }
}

interface Snapshot {
  kept: KeptCheckpoints;
  lastPath: string;
  lastStep: number;
}

interface Unsettled {
  path: string;
  /** What it replaces. */
  removed: string[];
  before: Snapshot;
}

const optionNames = [
  "dirpath",
  "filename",
  "autoInsertMetricName",
  "monitor",
  "mode",
  "saveTopK",
  "saveLast",
  "everyNEpochs",
  "everyNTrainSteps",
  "everyNMinutes",
  "hook",
  "state",
];

function isLocal(dirpath: string | URL): boolean {
  return ["file", null].includes(schemeOf(String(dirpath)));
}

function folderOf(dirpath: unknown): string {
  if (dirpath instanceof URL || (typeof dirpath === "string" && dirpath !== "")) {
    const folder = isLocal(dirpath) ? filePath(dirpath) : String(dirpath);
    return folder.replace(/(?<=.)\/+$/, "");
  }
  throw new TypeError(
    `Expected \`dirpath\` of ModelCheckpoint to be a folder, but got ${describe(dirpath)}.\nType \`new ModelCheckpoint({ dirpath: "runs/checkpoints" })\`.`,
  );
}

function checkValues(hook: string, saveTopK: unknown, options: ModelCheckpointOptions): void {
  if (hook !== "onValidationEnd" && hook !== "onTrainEpochEnd") {
    throw new ConfigurationError(`\`hook\` of ModelCheckpoint is ${describe(hook)}.`, {
      hint: 'Choose "onValidationEnd" or "onTrainEpochEnd".',
    });
  }
  if (saveTopK !== -1 && !isCount(saveTopK)) {
    throw new ConfigurationError(`\`saveTopK\` of ModelCheckpoint is ${describe(saveTopK)}.`, {
      hint: "Give the number of checkpoints to keep, or -1 for all.",
    });
  }
  const { everyNEpochs, everyNTrainSteps, everyNMinutes } = options;
  const given = Object.entries({ everyNEpochs, everyNTrainSteps, everyNMinutes }).filter(([, n]) => n !== undefined);
  for (const [name, n] of given) {
    if (typeof n === "number" && n > 0 && (name === "everyNMinutes" || isCount(n))) continue;
    throw new ConfigurationError(`\`${name}\` of ModelCheckpoint is ${describe(n)}.`, {
      hint: name === "everyNMinutes" ? "Give a number above 0." : "Give a whole number above 0.",
    });
  }
  if (given.length > 1) {
    throw new ConfigurationError(`ModelCheckpoint got ${given.map(([name]) => `\`${name}\``).join(" and ")}.`, {
      hint: "Give one of them; for several make several ModelCheckpoints.",
    });
  }
}

function entriesOf(scores: Record<string, number | null> | Map<string, number | null>): [string, number | null][] {
  return scores instanceof Map ? [...scores] : Object.entries(scores);
}

/** The numbers among values, and those in tensors with one element. */
function numbersIn(values: Record<string, unknown>): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const [name, value] of Object.entries(values)) {
    const number = value instanceof Tensor && value.numel() === 1 ? value.item() : value;
    if (typeof number === "number") numbers[name] = number;
  }
  return numbers;
}
