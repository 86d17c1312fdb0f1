// Writes what TensorBoard shows: `logger.experiment`, with the methods of PyTorch's SummaryWriter in camelCase.
import { join } from "node:path";
import { ConfigurationError, type nn, Tensor } from "@fabric-ts/torch";
import { checkOptions, describe } from "../../utilities/describe.js";
import { makeFolder } from "../folders.js";
import { checkStep } from "../metrics.js";
import { flattenDict, sanitizeParams } from "../parameters.js";
import { saveSeconds, warnNow } from "../unsaved.js";
import { EventFile } from "./event-file.js";
import { writeHistogram } from "./histogram.js";
import { hparamsSummaries } from "./hparams.js";
import { type DataFormat, pixelsOf } from "./image.js";
import { moduleGraph } from "./module-graph.js";
import type { ProtoWriter } from "./protobuf.js";
import { image, type SummaryValue, scalar, text } from "./summaries.js";

/** Options of `SummaryWriter`, and of `TensorBoardLogger` beside its own. */
export interface SummaryWriterOptions {
  /** Most events that wait in memory. Default 1000. */
  maxQueue?: number | undefined;
  /** Most seconds that an event waits in memory. Default 1. */
  flushSecs?: number | undefined;
  /** Put at the end of the name of each file. */
  filenameSuffix?: string | undefined;
}

/** internal: their names. */
export const summaryWriterOptionNames = ["maxQueue", "flushSecs", "filenameSuffix"] as const;

/** A number, or a tensor with one element. */
export type Scalar = number | bigint | boolean | Tensor;

/** Writes event files for TensorBoard. Steps default to 0. Nothing waits for the disk but `flush` and `close`. */
export class SummaryWriter {
  /** The folder of the files. */
  readonly logDir: string;
  readonly #options: Required<SummaryWriterOptions>;
  readonly #attempt: (write: () => void) => boolean;
  // By folder: that of the writer, and one for each line of a chart that `addScalars` made.
  readonly #files = new Map<string, EventFile>();

  constructor(logDir: string, options: SummaryWriterOptions = {}, attempt = warnOnce(logDir)) {
    if (typeof logDir !== "string" || logDir === "") {
      throw new TypeError(`Expected the folder of a SummaryWriter to be a path, but got ${describe(logDir)}.`);
    }
    checkOptions("SummaryWriter", options, summaryWriterOptionNames);
    this.logDir = logDir;
    this.#options = checkedOptions(options);
    this.#attempt = attempt;
  }

  /** A number in a chart. */
  addScalar(tag: string, value: Scalar, step?: number): void {
    const number = numberOf(value);
    this.#add(this.logDir, tag, step, scalar(number));
  }

  /** Several numbers in one chart, each as a run of its own in TensorBoard. */
  addScalars(mainTag: string, values: Readonly<Record<string, Scalar>>, step?: number): void {
    checkTag(mainTag);
    const numbers = Object.entries(values).map(([name, value]) => [name, numberOf(value)] as const);
    for (const [name, number] of numbers) {
      const folder = `${mainTag}_${name}`.replace(/[/\\]/g, "_");
      this.#add(join(this.logDir, folder), mainTag, step, scalar(number));
    }
  }

  /** How the elements of a tensor are distributed. */
  addHistogram(tag: string, values: Tensor | ArrayLike<number | bigint>, step?: number): void {
    const elements = values instanceof Tensor ? values.detach().to("cpu").to("float64").toTypedArray() : values;
    if (typeof elements !== "object" || elements === null || typeof elements.length !== "number")
      throw new TypeError(
        `Expected the values of a histogram to be a Tensor or an array, but got ${describe(values)}.`,
      );
    this.#add(this.logDir, tag, step, (value) => value.message(5, (histogram) => writeHistogram(histogram, elements)));
  }

  /** A picture: floats from 0 to 1 or integers from 0 to 255, of one to four channels. */
  addImage(tag: string, picture: Tensor, step?: number, options: { dataFormat?: DataFormat } = {}): void {
    checkOptions("addImage", options, ["dataFormat"]);
    this.#add(this.logDir, tag, step, image(pixelsOf(picture, options.dataFormat ?? "CHW")));
  }

  /** A batch of pictures as one, eight in a row. */
  addImages(tag: string, pictures: Tensor, step?: number, options: { dataFormat?: DataFormat } = {}): void {
    checkOptions("addImages", options, ["dataFormat"]);
    this.#add(this.logDir, tag, step, image(pixelsOf(pictures, options.dataFormat ?? "NCHW")));
  }

  /** A text, shown as Markdown. */
  addText(tag: string, content: string, step?: number): void {
    if (typeof content !== "string")
      throw new TypeError(`Expected the text to be a string, but got ${describe(content)}.`);
    this.#add(this.logDir, `${tag}/text_summary`, step, text(content));
  }

  /** Hyper-parameters of this run and the metrics to compare runs by; see `TensorBoardLogger.logHyperparams`. */
  addHparams(params: Record<string, unknown>, metrics: Readonly<Record<string, Scalar>>, step?: number): void {
    for (const [tag, value] of Object.entries(metrics)) this.addScalar(tag, value, step);
    for (const summary of hparamsSummaries(sanitizeParams(flattenDict(params)), metrics)) {
      this.#event(this.logDir, step, (event) => event.message(5, summary));
    }
  }

  /** The calls of a model's layers as a graph, found by running it once on `input`. What happens between them is not seen. */
  addGraph(model: nn.AnyModule, input: Tensor | readonly Tensor[]): void {
    const graph = moduleGraph(model, input instanceof Tensor ? [input] : input);
    this.#event(this.logDir, 0, (event) => event.bytes(4, graph));
  }

  /** Writes what is in memory. */
  flush(): void {
    for (const file of this.#files.values()) file.save();
  }
  /** Writes what is in memory; what comes later goes to new files. */
  close(): void {
    this.flush();
    this.#files.clear();
  }

  #add(folder: string, tag: string, step: number | undefined, fill: SummaryValue): void {
    checkTag(tag);
    this.#event(folder, step, (event) =>
      event.message(5, (summary) => summary.message(1, (value) => fill(value.string(1, tag)))),
    );
  }

  #event(folder: string, step: number | undefined, fill: (event: ProtoWriter) => unknown): void {
    checkStep(step);
    let file = this.#files.get(folder);
    if (file === undefined) {
      if (!this.#attempt(() => makeFolder(folder))) return;
      file = new EventFile(folder, this.#options, this.#attempt);
      this.#files.set(folder, file);
    }
    file.add(Math.trunc(step ?? 0), fill);
  }
}

function numberOf(value: unknown): number {
  if (value instanceof Tensor && value.numel() === 1) return Number(value.item());
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return Number(value);
  throw new TypeError(`Expected a number, or a tensor with one element, but got ${describe(value)}.`);
}

function checkTag(tag: unknown): void {
  if (typeof tag === "string") return;
  throw new TypeError(`Expected the name in TensorBoard to be a string, but got ${describe(tag)}.`);
}

function checkedOptions(options: SummaryWriterOptions): Required<SummaryWriterOptions> {
  const { maxQueue = 1000, flushSecs = saveSeconds, filenameSuffix = "" } = options;
  for (const [name, value] of Object.entries({ maxQueue, flushSecs })) {
    if (typeof value === "number" && value >= 0) continue;
    throw new ConfigurationError(`Expected \`${name}\` to be a number, 0 or more, but got ${describe(value)}.`);
  }
  if (typeof filenameSuffix !== "string" || /[/\\\0]/.test(filenameSuffix)) {
    throw new ConfigurationError(`\`filenameSuffix\` cannot be ${describe(filenameSuffix)}.`, {
      hint: "It is the end of a file's name, such as `.trial-1`.",
    });
  }
  return { maxQueue, flushSecs, filenameSuffix };
}

function warnOnce(folder: string): (write: () => void) => boolean {
  let hasWarned = false;
  return (write) => {
    try {
      write();
      return true;
    } catch (error) {
      if (!hasWarned) {
        warnNow(
          `SummaryWriter cannot write to ${folder}: ${(error as Error).message}. What it could not write is lost.`,
        );
      }
      hasWarned = true;
      return false;
    }
  };
}
