// A local MLflow tracking server, as far as the logger goes: it keeps what it is sent, enforces the documented limits, and fails when told to.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface Item {
  key: string;
  value: number | string;
  timestamp?: number;
  step?: number;
}

/** A run on the server. */
export interface StubRun {
  id: string;
  name: string | undefined;
  status: string;
  tags: Record<string, string>;
  params: Record<string, string>;
  metrics: Item[];
}

/** What the server does with a request in place of answering it. */
export type Fault =
  | { status: number; headers?: Record<string, string>; body?: string }
  | "drop"
  | "drop after"
  | "silence"
  | null;

class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export class MLflowStub {
  readonly experiments = new Map<string, string>();
  readonly runs: StubRun[] = [];
  /** Path of each request, in order. */
  readonly requests: string[] = [];
  readonly authorizations = new Set<string | undefined>();
  largestBatch = 0;
  url = "";
  /** Asked before each request. */
  fault: (path: string, body: string) => Fault = () => null;
  readonly #server: Server;
  #nextId = 1;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<MLflowStub> {
    const stub = new MLflowStub();
    await new Promise<void>((resolve) => stub.#server.listen(0, "127.0.0.1", resolve));
    stub.url = `http://127.0.0.1:${(stub.#server.address() as AddressInfo).port}`;
    return stub;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Values of a metric, in order of their arrival. */
  values(key: string, run = this.runs[0]): (number | string)[] {
    return (run?.metrics ?? []).filter((metric) => metric.key === key).map(({ value }) => value);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const url = new URL(request.url ?? "", this.url);
    const path = url.pathname.replace(/^.*\/api\/2\.0\/mlflow\//, "");
    this.requests.push(path);
    this.authorizations.add(request.headers.authorization);
    const fault = this.fault(path, body);
    if (fault === "silence") return;
    if (fault === "drop") {
      response.destroy();
      return;
    }
    if (fault !== null && fault !== "drop after") {
      response.writeHead(fault.status, { "content-type": "application/json", ...fault.headers }).end(fault.body ?? "");
      return;
    }
    let status = 200;
    let answer: object | number;
    try {
      answer = this.#answer(path, url.searchParams, body === "" ? {} : JSON.parse(body), Buffer.byteLength(body));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      status = error.status;
      answer = { error_code: error.code, message: error.message };
    }
    // The work is done, but nobody learns of it.
    if (fault === "drop after") response.destroy();
    else response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
  }

  // biome-ignore lint/suspicious/noExplicitAny: requests as they come
  #answer(path: string, query: URLSearchParams, body: any, bytes: number): object | number {
    switch (path) {
      case "experiments/get-by-name": {
        const name = query.get("experiment_name") ?? "";
        const id = this.experiments.get(name);
        if (id === undefined)
          throw new Refusal(404, "RESOURCE_DOES_NOT_EXIST", `No Experiment with name=${name} exists`);
        return { experiment: { experiment_id: id, name } };
      }
      case "experiments/create": {
        if (this.experiments.has(body.name))
          throw new Refusal(400, "RESOURCE_ALREADY_EXISTS", "Experiment already exists.");
        this.experiments.set(body.name, String(this.#nextId));
        return { experiment_id: String(this.#nextId++) };
      }
      case "runs/create": {
        const run: StubRun = {
          id: String(this.#nextId++).padStart(32, "0"),
          name: body.run_name,
          status: "RUNNING",
          tags: {},
          params: {},
          metrics: [],
        };
        for (const { key, value } of body.tags ?? []) run.tags[key] = value;
        this.runs.push(run);
        return { run: { info: { run_id: run.id, status: run.status } } };
      }
      case "runs/search": {
        const [, key, value] = /tags\.`(.*)` = '(.*)'/.exec(body.filter) ?? [];
        const found = this.runs.filter((run) => run.tags[key ?? ""] === value);
        return { runs: found.map((run) => ({ info: { run_id: run.id } })) };
      }
      // Not MLflow's: for tests in other processes.
      case "/count":
        return this.runs.find(({ name }) => name === query.get("name"))?.metrics.length ?? 0;
      case "runs/log-batch":
        return this.#logBatch(body, bytes);
      case "runs/update": {
        this.#run(body.run_id).status = body.status;
        return {};
      }
      default:
        throw new Refusal(404, "ENDPOINT_NOT_FOUND", path);
    }
  }

  #logBatch(body: { run_id: string; metrics?: Item[]; params?: Item[]; tags?: Item[] }, bytes: number): object {
    const { metrics = [], params = [], tags = [] } = body;
    const run = this.#run(body.run_id);
    const invalid = (message: string): never => {
      throw new Refusal(400, "INVALID_PARAMETER_VALUE", message);
    };
    if (bytes > 1_000_000) invalid("A batch logging API request must be at most 1000000 bytes in size.");
    if (metrics.length > 1000) invalid("A batch logging request can contain at most 1000 metrics.");
    if (params.length > 100) invalid("A batch logging request can contain at most 100 params.");
    if (tags.length > 100) invalid("A batch logging request can contain at most 100 tags.");
    const all = [...metrics, ...params, ...tags];
    if (all.length > 1000)
      invalid("A batch logging request can contain at most 1000 metrics, params, and tags in total.");
    this.largestBatch = Math.max(this.largestBatch, all.length);
    for (const { key } of all) {
      const isUnique = !key.split("/").some((part) => part === "" || part === "." || part === "..");
      if (!/^[/\w.\- ]*$/.test(key) || !isUnique) invalid(`Invalid name: '${key}'`);
      if (key.length > 250) invalid(`'${key}' exceeds the maximum length of 250 characters`);
    }
    const keys = params.map(({ key }) => key);
    if (new Set(keys).size < keys.length) invalid(`Duplicate parameter keys have been submitted: ${keys}.`);
    for (const { key, value } of params) {
      if (typeof value !== "string" || value.length > 6000) invalid(`Param value of ${key} exceeds the maximum length`);
      if (run.params[key] !== undefined && run.params[key] !== value) {
        invalid(`Changing param values is not allowed. Param with key='${key}' was already logged`);
      }
    }
    for (const { key, value } of tags) {
      if (typeof value !== "string" || value.length > 5000) invalid(`Tag value of ${key} exceeds the maximum length`);
    }
    for (const { key, value, timestamp, step } of metrics) {
      const isNumber = typeof value === "number" || ["NaN", "Infinity", "-Infinity"].includes(value);
      if (!isNumber || !Number.isInteger(timestamp) || !Number.isInteger(step)) invalid(`Invalid metric: ${key}`);
    }
    run.metrics.push(...metrics);
    for (const { key, value } of params) run.params[key] = value as string;
    for (const { key, value } of tags) run.tags[key] = value as string;
    return {};
  }

  #run(id: string): StubRun {
    const run = this.runs.find((candidate) => candidate.id === id);
    if (run === undefined) throw new Refusal(404, "RESOURCE_DOES_NOT_EXIST", `Run with id=${id} not found`);
    return run;
  }
}
