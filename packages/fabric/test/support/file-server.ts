// A web server on this machine with files in memory and the faults that web servers have.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What goes wrong with a request, by its number (from 0) for the file; null: nothing. */
export type Fault =
  | null
  | { status: number }
  | { cutAfter: number }
  | "reset"
  | "silence"
  | "stall"
  | "whole"
  | "other range"
  | "changed";

/** One file of the server. */
export interface ServedFile {
  bytes: Uint8Array;
  /** Default: every request is answered as it should be. */
  fault?: (request: number) => Fault;
  /** False for servers that know no ranges. */
  ranges?: boolean;
  etag?: string;
  modified?: string;
  /** The user and password that are asked for. */
  secret?: string;
  /** The file is elsewhere. */
  movedTo?: string;
}

/** Serves files at /NAME and counts. */
export class FileServer {
  readonly files = new Map<string, ServedFile>();
  readonly requests: { name: string; range: string | undefined; headers: IncomingMessage["headers"] }[] = [];
  readonly #server: Server;
  /** Bytes of bodies that were sent. */
  sent = 0;

  constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }
  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const name = decodeURIComponent((request.url ?? "/").slice(1).replace(/\?.*$/, ""));
    const count = this.requests.filter((seen) => seen.name === name).length;
    const { range } = request.headers;
    this.requests.push({ name, range, headers: request.headers });
    const file = this.files.get(name);
    if (!file) {
      response.writeHead(404).end("no such file");
      return;
    }
    if (file.movedTo !== undefined) {
      response.writeHead(302, { location: file.movedTo }).end();
      return;
    }
    if (file.secret !== undefined && request.headers.authorization !== file.secret) {
      response.writeHead(401, { "www-authenticate": "Basic" }).end("who are you?");
      return;
    }
    const fault = file.fault?.(count) ?? null;
    if (fault === "reset") request.socket.resetAndDestroy();
    else if (fault === "silence") return;
    else if (fault !== null && typeof fault === "object" && "status" in fault) {
      response.writeHead(fault.status).end("sorry");
    } else this.#send(file, range, request.headers["if-match"], fault, response);
  }

  #send(
    file: ServedFile,
    range: string | undefined,
    ifMatch: string | undefined,
    fault: Fault,
    response: ServerResponse,
  ): void {
    const etag = fault === "changed" ? '"another"' : file.etag;
    if (ifMatch !== undefined && ifMatch !== etag) {
      response.writeHead(412).end();
      return;
    }
    const headers: Record<string, string> = {};
    if (etag !== undefined) headers.etag = etag;
    if (file.modified !== undefined) headers["last-modified"] = file.modified;
    const total = file.bytes.length;
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    let body = file.bytes;
    let status = 200;
    if (from !== undefined && file.ranges !== false && fault !== "whole") {
      const start = Number(from) + (fault === "other range" ? 1 : 0);
      const end = Math.min(total, Number(to) + 1);
      if (start >= total) {
        response.writeHead(416, { "content-range": `bytes */${total}` }).end();
        return;
      }
      status = 206;
      body = file.bytes.subarray(start, end);
      headers["content-range"] = `bytes ${start}-${end - 1}/${total}`;
    }
    response.writeHead(status, { ...headers, "content-length": String(body.length) });
    const cut = fault !== null && typeof fault === "object" && "cutAfter" in fault ? fault.cutAfter : null;
    const part = cut === null && fault !== "stall" ? body : body.subarray(0, cut ?? 10);
    this.sent += part.length;
    response.write(part, () => {
      if (cut !== null) response.socket?.destroy();
      else if (fault !== "stall") response.end();
    });
  }
}
