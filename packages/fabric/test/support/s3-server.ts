// A real S3-compatible server on this machine behind a proxy that sees every request and lets chosen ones fail.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, request as forward, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface S3rver {
  run(): Promise<AddressInfo>;
  close(): Promise<void>;
}
const S3rverClass = createRequire(import.meta.url)("s3rver") as new (options: object) => S3rver;

/** What happens to a request instead of its being forwarded; null: nothing. */
export type S3Fault = null | "reset" | "cut" | "lost answer" | "silence" | { status: number; code: string };

/** What a request is about: "PUT part", "POST complete", "GET"... */
export interface S3Request {
  what: string;
  key: string;
}

/** The server, with the buckets `bucket` and `other`. */
export class S3Server {
  readonly requests: S3Request[] = [];
  /** Decides on faults; `count` is how often this kind of request came before. */
  fault: (request: S3Request, count: number) => S3Fault = () => null;
  readonly #folder = mkdtempSync(join(tmpdir(), "fabric-s3-"));
  readonly #store: S3rver;
  readonly #proxy: Server;
  #port = 0;

  constructor() {
    this.#store = new S3rverClass({
      port: 0,
      address: "127.0.0.1",
      silent: true,
      directory: this.#folder,
      configureBuckets: [
        { name: "bucket", configs: [] },
        { name: "other", configs: [] },
      ],
    });
    this.#proxy = createServer((request, response) => this.#pass(request, response));
  }

  /** Starts, and returns the address. */
  async start(): Promise<string> {
    this.#port = (await this.#store.run()).port;
    await new Promise<void>((resolve) => this.#proxy.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#proxy.address() as AddressInfo).port}`;
  }
  async stop(): Promise<void> {
    this.#proxy.closeAllConnections();
    await new Promise((resolve) => this.#proxy.close(resolve));
    await this.#store.close();
    rmSync(this.#folder, { recursive: true });
  }
  /** How many requests of a kind there were. */
  count(what: string): number {
    return this.requests.filter((request) => request.what === what).length;
  }

  #pass(request: IncomingMessage, response: ServerResponse): void {
    const seen = kindOf(request);
    const fault = this.fault(seen, this.count(seen.what));
    this.requests.push(seen);
    if (fault === "silence") return;
    if (fault === "reset") {
      request.socket.resetAndDestroy();
      return;
    }
    if (fault !== null && typeof fault === "object") {
      request.resume();
      const text = `<?xml version="1.0"?><Error><Code>${fault.code}</Code><Message>The request with Signature=5ecret failed</Message><AWSAccessKeyId>AKIAIOSFODNN7EXAMPLE</AWSAccessKeyId></Error>`;
      response.writeHead(fault.status, { "content-type": "application/xml" }).end(text);
      return;
    }
    // The server does not know this call; a real one answers so.
    if (seen.what === "DELETE upload") {
      response.writeHead(204).end();
      return;
    }
    const { method, url, headers } = request;
    const onward = forward({ host: "127.0.0.1", port: this.#port, method, path: url, headers }, (answer) => {
      if (fault === "lost answer") {
        answer.resume();
        answer.on("end", () => request.socket.resetAndDestroy());
        return;
      }
      response.writeHead(answer.statusCode as number, answer.headers);
      if (fault !== "cut") answer.pipe(response);
      else
        answer.once("data", (chunk: Buffer) => response.write(chunk.subarray(0, 20), () => response.socket?.destroy()));
    });
    onward.on("error", () => request.socket.destroy());
    request.pipe(onward);
  }
}

function kindOf(request: IncomingMessage): S3Request {
  const url = new URL(request.url as string, "http://x");
  const key = decodeURIComponent(url.pathname.replace(/^\/[^/]*\/?/, ""));
  const names = new Set(url.searchParams.keys());
  const kinds: [string, string][] = [
    ["partNumber", " part"],
    ["uploads", " upload"],
    ["uploadId", request.method === "DELETE" ? " upload" : " complete"],
    ["list-type", " list"],
    ["delete", " delete"],
  ];
  const kind = kinds.find(([name]) => names.has(name))?.[1] ?? "";
  return { what: `${request.method}${kind}`, key };
}
