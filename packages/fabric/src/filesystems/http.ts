// Files on web servers, which can only be read: by ranges where the server knows them, else as a whole.
import { CheckpointError } from "@fabric-ts/torch";
import { checkOptions } from "../utilities/describe.js";
import { changedMeanwhile, invalidAddress, lastPart, shownAddress } from "./address.js";
import { type FileInfo, type FileReader, FileSystem } from "./file-system.js";
import { aheadBytes, BrokenOff, bodyBytes, impatiently, persistently, RangeReader } from "./ranges.js";

/** Options of `HttpFileSystem`. */
export interface HttpFileSystemOptions {
  /** Sent with every request, such as `{ Authorization: "Bearer ..." }`. */
  headers?: Readonly<Record<string, string>>;
  /** Milliseconds without a byte after which a connection is given up (default 30,000). */
  timeout?: number;
}

/** Reads files from web servers. Connections that break off are tried again; a file that changes while it is read is an error. */
export class HttpFileSystem extends FileSystem {
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeout: number;

  constructor(options: HttpFileSystemOptions = {}) {
    super();
    checkOptions("HttpFileSystem", options, ["headers", "timeout"]);
    this.#headers = options.headers ?? {};
    this.#timeout = options.timeout ?? 30_000;
  }

  override async stat(path: string): Promise<FileInfo | null> {
    const name = shownAddress(path);
    try {
      const { total, modified } = await persistently(`Reading ${name}`, () => this.#begin(path, 1));
      return { path, name: lastPart(name), isFolder: false, size: total, modified };
    } catch (error) {
      if ((error as { code?: string }).code === "ENOENT") return null;
      throw error;
    }
  }

  override async openRead(path: string): Promise<FileReader> {
    const name = shownAddress(path);
    const { bytes, total, version } = await persistently(`Reading ${name}`, () => this.#begin(path, aheadBytes));
    return new RangeReader(name, total, bytes, async (start, end) => {
      const answer = await this.#get(path, start, end, version);
      const range = rangeOf(answer.response);
      if (answer.response.status !== 206 || range?.start !== start || range.total !== total) {
        answer.abandon();
        throw changedMeanwhile(name);
      }
      return await this.#body(answer, end - start);
    });
  }

  /** The first bytes of a file, or all of it where the server knows no ranges. */
  async #begin(path: string, length: number): Promise<Beginning> {
    const answer = await this.#get(path, 0, length, {});
    const { response } = answer;
    const modified = dateOf(response);
    const version = versionOf(response);
    const range = rangeOf(response);
    // An empty file has no first byte.
    if (response.status === 416) return { bytes: new Uint8Array(), total: 0, version, modified };
    if (response.status === 206 && range !== null) {
      const bytes = await this.#body(answer, Math.min(length, range.total));
      return { bytes, total: range.total, version, modified };
    }
    const declared = response.headers.get("content-length");
    const bytes = await this.#body(answer, declared === null ? null : Number(declared));
    return { bytes, total: bytes.length, version, modified };
  }

  async #get(path: string, start: number, end: number, version: Record<string, string>): Promise<Answer> {
    const { address, headers } = split(path);
    const range = { Range: `bytes=${start}-${end - 1}`, "Accept-Encoding": "identity" };
    const stop = new AbortController();
    const abandon = (): void => stop.abort();
    const all = { ...this.#headers, ...headers, ...range, ...version };
    const response = await impatiently(fetch(address, { headers: all, signal: stop.signal }), this.#timeout).catch(
      (error: unknown) => {
        abandon();
        throw error;
      },
    );
    const { status } = response;
    if (status === 200 || status === 206) return { response, abandon };
    abandon();
    if (status === 416 && start === 0) return { response, abandon };
    if (status === 408 || status === 429 || status >= 500)
      throw new BrokenOff(`the server answered ${status} ${response.statusText}`.trim());
    throw status === 412 || status === 416
      ? changedMeanwhile(shownAddress(path))
      : refused(shownAddress(path), response);
  }

  async #body({ response, abandon }: Answer, length: number | null): Promise<Uint8Array> {
    const body = response.body as unknown as AsyncIterable<Uint8Array> | null;
    return await bodyBytes(body ?? noBytes(), { length, patience: this.#timeout, abandon });
  }
}

interface Answer {
  response: Response;
  /** Ends the connection. */
  abandon: () => void;
}

interface Beginning {
  bytes: Uint8Array;
  total: number;
  /** Headers that make the server refuse when the file is another one by now. */
  version: Record<string, string>;
  modified: Date | null;
}

async function* noBytes(): AsyncGenerator<Uint8Array> {}

/** The address without user and password, which `fetch` does not take, and the header that they make. */
function split(path: string): { address: string; headers: Record<string, string> } {
  try {
    const url = new URL(path);
    const { username, password } = url;
    if (username === "" && password === "") return { address: url.href, headers: {} };
    url.username = "";
    url.password = "";
    const secret = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
    return { address: url.href, headers: { Authorization: `Basic ${secret}` } };
  } catch {
    throw invalidAddress(path);
  }
}

function rangeOf(response: Response): { start: number; total: number } | null {
  const found = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  return found === null ? null : { start: Number(found[1]), total: Number(found[2]) };
}
function dateOf(response: Response): Date | null {
  const date = new Date(response.headers.get("last-modified") ?? "");
  return Number.isNaN(date.getTime()) ? null : date;
}
function versionOf(response: Response): Record<string, string> {
  const etag = response.headers.get("etag");
  if (etag?.startsWith('"')) return { "If-Match": etag };
  const date = response.headers.get("last-modified");
  return date === null ? {} : { "If-Unmodified-Since": date };
}

function refused(name: string, { status, statusText }: Response): CheckpointError {
  if (status === 404 || status === 410) {
    return new CheckpointError(`Checkpoint file not found: ${name}`, {
      code: "ENOENT",
      hint: `Check the address; the server answered ${status}.`,
    });
  }
  const forbidden = status === 401 || status === 403;
  return new CheckpointError(`${name} cannot be read: the server answered ${status} ${statusText}`.trim(), {
    code: forbidden ? "EACCES" : "EIO",
    hint: forbidden
      ? 'Pass what the server asks for: `registerFileSystem("https", () => new HttpFileSystem({ headers: { Authorization: "Bearer ..." } }), { override: true })`.'
      : "Check the address.",
  });
}
