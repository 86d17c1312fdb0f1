// Metrics and hyper-parameters for an MLflow tracking server, over its REST API.
import { builtins, ConfigurationError } from "@fabric-ts/torch";
import { checkOptions, describe } from "../../utilities/describe.js";
import { currentRank } from "../../utilities/rank-zero.js";
import { Logger } from "../logger.js";
import { MetricIntake, type MetricOptions } from "../metrics.js";
import { flattenDict, plainParams } from "../parameters.js";
import { checkSecrets, type SecretRule } from "../secrets.js";
import type { MLflowServer } from "./client.js";
import { limits, mlflowName, mlflowNumber } from "./names.js";
import { RunThread } from "./run-thread.js";
import type { SenderOptions } from "./sender.js";

/** Options of `MLflowLogger`. */
export interface MLflowLoggerOptions extends MetricOptions {
  /** Address of the tracking server. Default: `MLFLOW_TRACKING_URI`. */
  trackingUri?: string | URL | undefined;
  /** Name of the experiment, made where there is none. Default `"lightning_logs"`. */
  experimentName?: string | undefined;
  /** Name of the run. Default: the server chooses one. */
  runName?: string | undefined;
  /** Id of a run to continue. Default: a new run. */
  runId?: string | undefined;
  /** Tags of the run. */
  tags?: Record<string, unknown> | undefined;
  /** Default: `MLFLOW_TRACKING_TOKEN`. */
  token?: string | undefined;
  /** Default: `MLFLOW_TRACKING_USERNAME`, or what stands in the address. */
  username?: string | undefined;
  /** Default: `MLFLOW_TRACKING_PASSWORD`, or what stands in the address. */
  password?: string | undefined;
  /** Which hyper-parameters are masked: an expression for their names, or `false`. Default: those that sound secret. */
  secrets?: RegExp | false | undefined;
  /** Most metrics that wait while the server cannot be reached; then the oldest are dropped. Default 100,000. */
  maxQueue?: number | undefined;
  /** Most seconds that `start`, `finalize` and the end of the process wait for the server. Default 10. */
  timeoutSecs?: number | undefined;
}

const optionNames: readonly (keyof MLflowLoggerOptions)[] = [
  "trackingUri",
  "experimentName",
  "runName",
  "runId",
  "tags",
  "token",
  "username",
  "password",
  "secrets",
  "maxQueue",
  "timeoutSecs",
  "prefix",
  "every",
];

/**
 * Sends to an MLflow server from a thread of its own: no step waits for the network, however busy the main thread is. What fails is tried
 * again. The run is marked as finished or failed when the process ends, or by `await logger.finalize("success")`.
 *
 *     const fabric = new Fabric({ loggers: new MLflowLogger({ trackingUri: "http://127.0.0.1:5000", experimentName: "digits" }) });
 */
export class MLflowLogger extends Logger {
  readonly #experimentName: string;
  readonly #secrets: SecretRule;
  readonly #intake: MetricIntake;
  readonly #options: SenderOptions;
  readonly #timeoutMs: number;
  #thread: RunThread | null = null;

  /** @throws ConfigurationError when there is no address, or none of the web */
  constructor(options: MLflowLoggerOptions = {}) {
    super();
    checkOptions("MLflowLogger", options, optionNames);
    const { experimentName = "lightning_logs", runName = null, runId = null, tags, secrets } = options;
    const { maxQueue = 100_000, timeoutSecs = 10 } = options;
    for (const [name, value] of Object.entries({ experimentName, runName, runId })) {
      if (value === null || (typeof value === "string" && value !== "")) continue;
      throw new TypeError(`Expected \`${name}\` of MLflowLogger to be a string, but got ${describe(value)}.`);
    }
    for (const [name, value] of Object.entries({ maxQueue, timeoutSecs })) {
      if (typeof value === "number" && value >= 0) continue;
      throw new TypeError(`Expected \`${name}\` of MLflowLogger to be a number, but got ${describe(value)}.`);
    }
    this.#experimentName = experimentName;
    this.#secrets = checkSecrets("MLflowLogger", secrets);
    this.#intake = new MetricIntake("MLflowLogger", options);
    this.#timeoutMs = Math.min(timeoutSecs * 1000, 2 ** 30);
    this.#options = {
      server: serverOf(options),
      experimentName,
      runName,
      runId,
      tags: pairs(plainParams(tags, checkSecrets("MLflowLogger", secrets)), limits.tagValue),
      startId: "",
      maxQueue,
      batchMs: 1000,
      requestMs: 30_000,
      pauseMs: 500,
      longestPauseMs: 30_000,
    };
  }

  /** Name of the experiment. */
  override get name(): string {
    return this.#experimentName;
  }
  /** The run's id; empty until the server has told it. */
  override get version(): string {
    return this.runId ?? "";
  }
  /** The run's id, or null until the server has told it. */
  get runId(): string | null {
    return this.#thread?.runId ?? this.#options.runId;
  }

  /**
   * Begins the run, which the first metric would do otherwise. Resolves with its id; with null on other ranks, and where the server does not
   * make it in time.
   */
  async start(): Promise<string | null> {
    return currentRank() === 0 ? await this.#run().start() : null;
  }

  /** Hands numbers over; dictionaries of numbers become `name/key`. */
  override logMetrics(metrics: Record<string, unknown>, step?: number): void {
    const entry = this.#intake.take(metrics, step);
    if (entry === null) return;
    const timestamp = Date.now();
    const items = Object.entries(flattenDict(entry.metrics)).map(([name, value]) => ({
      key: mlflowName(name),
      value: mlflowNumber(numberOf(name, value)),
      timestamp,
      step: Math.trunc(entry.step),
    }));
    this.#run().send({ metrics: items });
  }

  /** Hands the options of this run over; MLflow does not let them change afterwards. */
  override logHyperparams(params: unknown): void {
    if (currentRank() !== 0) return;
    this.#run().send({ params: pairs(plainParams(params, this.#secrets), limits.paramValue) });
  }

  /**
   * Ends the run as finished (`"success"`, `"finished"`), failed (`"failed"`) or killed (anything else), when everything has been sent or
   * the time is up. What is logged afterwards goes to a new run.
   */
  override async finalize(status: string): Promise<void> {
    const thread = this.#thread;
    this.#thread = null;
    const isGood = status === "success" || status === "finished";
    await thread?.finish(isGood ? "FINISHED" : status === "failed" ? "FAILED" : "KILLED");
  }

  #run(): RunThread {
    this.#thread ??= new RunThread({ ...this.#options, startId: builtins.crypto.randomUUID() }, this.#timeoutMs);
    return this.#thread;
  }
}

function pairs(values: Record<string, unknown>, longest: number): { key: string; value: string }[] {
  return Object.entries(values).map(([name, value]) => ({
    key: mlflowName(name),
    value: String(value).slice(0, longest),
  }));
}

function numberOf(name: string, value: unknown): number {
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return Number(value);
  throw new ConfigurationError(`MLflow takes numbers only, but \`${name}\` is ${describe(value)}.`, {
    hint: "Texts go in the tags or hyper-parameters of the run.",
  });
}

function serverOf(options: MLflowLoggerOptions): MLflowServer {
  const { MLFLOW_TRACKING_URI, MLFLOW_TRACKING_TOKEN, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD } =
    process.env;
  const address = options.trackingUri ?? MLFLOW_TRACKING_URI;
  const example = '`new MLflowLogger({ trackingUri: "http://127.0.0.1:5000" })`';
  if (address === undefined || address === "") {
    throw new ConfigurationError("MLflowLogger does not know the tracking server.", {
      hint: `Set MLFLOW_TRACKING_URI, or type ${example}.`,
    });
  }
  // The address may hold a password: no error shows it.
  const url = URL.canParse(String(address)) ? new URL(String(address)) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    const kind = url === null ? "is no address of the web" : `begins with \`${url.protocol}\``;
    throw new ConfigurationError(`MLflowLogger needs a tracking server over HTTP, but its address ${kind}.`, {
      hint: `Start one with \`mlflow server\`, and type ${example}.`,
    });
  }
  const token = options.token ?? MLFLOW_TRACKING_TOKEN;
  const username = options.username ?? (decoded(url.username) || MLFLOW_TRACKING_USERNAME);
  const password = options.password ?? (decoded(url.password) || MLFLOW_TRACKING_PASSWORD) ?? "";
  let authorization: string | null = null;
  if (username) authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  else if (token) authorization = `Bearer ${token}`;
  return { url: `${url.origin}${url.pathname}`.replace(/\/+$/, ""), authorization };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    // A lone % stands for itself.
    return part;
  }
}
