// Metrics, hyper-parameters and more as event files for TensorBoard.
import { ConfigurationError, type nn, Tensor } from "@fabric-ts/torch";
import { className, describe } from "../../utilities/describe.js";
import { currentRank, rankZeroWarn } from "../../utilities/rank-zero.js";
import { FileLogger, type FileLoggerOptions } from "../file-logger.js";
import { addPrefix, checkStep } from "../metrics.js";
import { plainParams } from "../parameters.js";
import { dummyExperiment, rankZeroExperiment } from "../rank-zero-experiment.js";
import { isRecord } from "../record.js";
import { checkSecrets, type SecretRule } from "../secrets.js";
import { type Scalar, SummaryWriter, type SummaryWriterOptions, summaryWriterOptionNames } from "./summary-writer.js";

/** Options of `TensorBoardLogger`. */
export interface TensorBoardLoggerOptions extends FileLoggerOptions, SummaryWriterOptions {
  /** Without metrics, hyper-parameters are logged with the metric `hp_metric`, -1, so that TensorBoard shows them. Default true. */
  defaultHpMetric?: boolean | undefined;
  /** A folder in that of the version. */
  subDir?: string | null | undefined;
  /** Which hyper-parameters are masked: an expression for their names, or `false`. Default: those that sound secret. */
  secrets?: RegExp | false | undefined;
}

/**
 * Writes to `rootDir/name/version_<n>`, for `tensorboard --logdir rootDir`. Its `experiment` has PyTorch's methods for histograms, images and
 * text. What is in memory is written when the process ends.
 *
 *     const logger = new TensorBoardLogger("logs", { name: "my_experiment" });
 *     const fabric = new Fabric({ loggers: logger });
 *     fabric.logDict({ loss, accuracy: { train, val } }, step);
 *     logger.experiment.addHistogram("weights", model.layer.weight, step);
 */
export class TensorBoardLogger extends FileLogger {
  readonly #defaultHpMetric: boolean;
  readonly #subDir: string;
  readonly #prefix: string;
  readonly #secrets: SecretRule;
  readonly #writerOptions: SummaryWriterOptions;
  #experiment: SummaryWriter | null = null;

  constructor(rootDir: string | URL, options: TensorBoardLoggerOptions = {}) {
    super(rootDir, options, ["defaultHpMetric", "subDir", "secrets", ...summaryWriterOptionNames]);
    const { name: _name, version: _version, prefix = "", every: _every, ...own } = options;
    const { defaultHpMetric = true, subDir = null, secrets, ...writerOptions } = own;
    if (subDir !== null && (typeof subDir !== "string" || subDir.includes("\0")))
      throw new TypeError(`Expected \`subDir\` of TensorBoardLogger to be a string, but got ${describe(subDir)}.`);
    this.#defaultHpMetric = defaultHpMetric;
    this.#subDir = subDir ?? "";
    this.#prefix = prefix;
    this.#secrets = checkSecrets("TensorBoardLogger", secrets);
    this.#writerOptions = writerOptions;
    // Options that cannot be are found now, not with the first metric.
    new SummaryWriter(this.rootDir, writerOptions);
  }

  /** Folder in that of the version, or null. */
  get subDir(): string | null {
    return this.#subDir === "" ? null : this.#subDir;
  }
  protected override get subFolder(): string {
    return this.#subDir;
  }

  /** The writer of the files; made, with its folder, when it is first needed. Does nothing on other ranks. */
  get experiment(): SummaryWriter {
    return rankZeroExperiment<unknown, SummaryWriter>(() => this.#open() ?? dummyExperiment)();
  }

  /** Numbers become charts, dictionaries of numbers charts with several lines. */
  override logMetrics(metrics: Record<string, unknown>, step?: number): void {
    const entry = this.intake.take(metrics, step);
    if (entry === null) return;
    for (const [name, value] of Object.entries(entry.metrics)) this.#log(name, value, entry.step);
  }

  /**
   * Shows the options of this run on TensorBoard's HParams page, together with metrics to compare runs by: numbers by name, or one number
   * that is called `hp_metric`.
   */
  override logHyperparams(params: unknown, metrics?: Record<string, Scalar> | Scalar | null, step?: number): void {
    if (currentRank() !== 0) return;
    checkStep(step);
    const plain = plainParams(params, this.#secrets);
    const compared = this.#comparedMetrics(metrics);
    if (compared === null) return;
    this.experiment.addHparams(plain, addPrefix(compared, this.#prefix, "-"), step);
  }

  /**
   * Shows the layers of a model as a graph. It runs the model once, in evaluation mode, on `input` or on its `exampleInputArray`; where
   * that cannot be, it warns.
   */
  override logGraph(model: nn.AnyModule, input?: unknown): void {
    if (currentRank() !== 0) return;
    const { exampleInputArray } = model as { exampleInputArray?: unknown };
    const given = input ?? exampleInputArray ?? null;
    const problem = graphProblem(given);
    if (problem !== null) {
      rankZeroWarn(`${couldNot} ${problem}`);
      return;
    }
    const raw = unwrapped(model);
    try {
      this.experiment.addGraph(raw, transferred(raw, given) as Tensor | Tensor[]);
    } catch (error) {
      rankZeroWarn(`${couldNot} the model failed on the example input: ${(error as Error).message}`);
    }
  }

  override save(): void {
    this.#experiment?.flush();
  }
  override finalize(_status: string): void {
    this.#experiment?.close();
  }

  protected override isOwnFile(name: string): boolean {
    return name.startsWith("events.out.tfevents.");
  }

  // Null where the folder cannot be made because the disk is full.
  #open(): SummaryWriter | null {
    if (this.#experiment !== null) return this.#experiment;
    const made = this.makeLogDir();
    if (made === null) return null;
    this.#experiment = new SummaryWriter(made.folder, this.#writerOptions, (write) => this.attempt(write));
    return this.#experiment;
  }

  #log(name: string, value: unknown, step: number): void {
    try {
      if (isRecord(value)) this.experiment.addScalars(name, value as Record<string, Scalar>, step);
      else this.experiment.addScalar(name, value as Scalar, step);
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause;
      throw new ConfigurationError(
        `For \`${name}\`, you tried to log ${describe(value)} which is currently not supported.`,
        { hint: "Try a dictionary of numbers, a number, or a tensor with one element.", cause },
      );
    }
  }

  #comparedMetrics(metrics: Record<string, Scalar> | Scalar | null | undefined): Record<string, Scalar> | null {
    if (metrics === null || metrics === undefined) return this.#defaultHpMetric ? { hp_metric: -1 } : null;
    return isRecord(metrics) ? metrics : { hp_metric: metrics as Scalar };
  }
}

const couldNot = "Could not log computational graph to TensorBoard:";

function graphProblem(input: unknown): string | null {
  if (input === null) return "The `model.exampleInputArray` attribute is not set or `input` was not given.";
  const isTraceable =
    input instanceof Tensor || (Array.isArray(input) && input.every((item) => item instanceof Tensor));
  if (isTraceable) return null;
  return `The \`input\` or \`model.exampleInputArray\` has type ${className(input)} which can't be traced by TensorBoard. Make it a tensor, or an array of the tensors that the model takes.`;
}

/** The model inside of what `fabric.setup` returned. */
function unwrapped(model: nn.AnyModule): nn.AnyModule {
  const wrapper = model as { module?: nn.AnyModule; markForwardMethod?: unknown };
  return typeof wrapper.markForwardMethod === "function" && wrapper.module ? wrapper.module : model;
}

/** Models with hooks for batches get the input through these, as a batch in training does. */
function transferred(model: nn.AnyModule, input: unknown): unknown {
  const hooks = model as unknown as Record<string, ((batch: unknown) => unknown) | undefined>;
  const { _onBeforeBatchTransfer: before, _applyBatchTransferHandler: apply } = hooks;
  if (typeof before !== "function" || typeof apply !== "function") return input;
  return apply.call(model, before.call(model, input));
}
