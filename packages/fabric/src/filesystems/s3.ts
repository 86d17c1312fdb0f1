// Files in object stores that speak S3: Amazon's, MinIO, Ceph and others.
import { CheckpointError } from "@fabric-ts/torch";
import { checkOptions } from "../utilities/describe.js";
import { changedMeanwhile, lastPart, shownAddress } from "./address.js";
import { type FileInfo, type FileReader, FileSystem, type FileWriter } from "./file-system.js";
import { aheadBytes, bodyBytes, persistently, RangeReader } from "./ranges.js";
import { connect, isNotFound, type S3Answer, type S3ClientLike, type Send, s3Error } from "./s3-client.js";
import { type S3Place, S3Upload } from "./s3-upload.js";

/** Options of `S3FileSystem`. What is not given comes from where the AWS SDK looks for it: `AWS_` variables, `~/.aws`, the machine's role. */
export interface S3FileSystemOptions {
  /** A client of your own; the other options are not used then. */
  client?: S3ClientLike;
  /** The address of a store other than Amazon's, such as `"https://minio.example.com"`. */
  endpoint?: string;
  region?: string;
  credentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
  /** The bucket is part of the path rather than of the host name (default: true for stores other than Amazon's). */
  forcePathStyle?: boolean;
  /** Milliseconds without a byte after which a connection is given up (default 30,000). */
  timeout?: number;
}

/**
 * Reads and writes objects in an object store, by `s3://bucket/key`. Needs the package `@aws-sdk/client-s3`. Large objects are written in
 * parts and appear when all of them have arrived; saving that is aborted leaves nothing.
 */
export class S3FileSystem extends FileSystem {
  readonly #options: S3FileSystemOptions;
  readonly #timeout: number;
  #connection: Promise<Send> | undefined;

  constructor(options: S3FileSystemOptions = {}) {
    super();
    const names = ["client", "endpoint", "region", "credentials", "forcePathStyle", "timeout"];
    checkOptions("S3FileSystem", options, names);
    this.#options = options;
    this.#timeout = options.timeout ?? 30_000;
  }

  override async stat(path: string): Promise<FileInfo | null> {
    const place = placeOf(path);
    const name = lastPart(path);
    return await this.#try("looked at", path, async (send) => {
      try {
        if (place.Key === "" || place.Key.endsWith("/")) throw Object.assign(new Error(), { name: "NotFound" });
        const { ContentLength = 0, LastModified = null } = await send("HeadObject", { ...place });
        return { path, name, isFolder: false, size: ContentLength, modified: LastModified };
      } catch (error) {
        if (!isNotFound(error)) throw error;
        const inside = { Bucket: place.Bucket, Prefix: folderOf(place.Key), MaxKeys: 1 };
        const { Contents = [] } = await send("ListObjectsV2", inside);
        return Contents.length === 0 ? null : { path, name, isFolder: true, size: 0, modified: null };
      }
    });
  }

  override async openRead(path: string): Promise<FileReader> {
    const place = placeOf(path);
    const name = shownAddress(path);
    const begin = (): Promise<[S3Answer, Uint8Array]> => this.#get(path, place, 0, aheadBytes);
    const [answer, bytes] = await persistently(`Reading ${name}`, begin);
    const total = totalOf(answer, bytes);
    const { ETag } = answer;
    return new RangeReader(name, total, bytes, async (start, end) => {
      const [later, part] = await this.#get(path, { ...place, IfMatch: ETag }, start, end);
      // Not every store knows conditions.
      if (later.ETag !== ETag) throw changedMeanwhile(name);
      return part;
    });
  }

  override async openWrite(path: string): Promise<FileWriter> {
    const place = placeOf(path);
    if (place.Key === "" || place.Key.endsWith("/")) {
      throw new CheckpointError(`${shownAddress(path)} names a folder, not a file.`, {
        code: "EISDIR",
        hint: "Add the name of a file: s3://bucket/folder/last.ckpt.",
      });
    }
    return new S3Upload(shownAddress(path), place, await this.#connect());
  }

  override async list(path: string): Promise<FileInfo[]> {
    const { Bucket, Key } = placeOf(path);
    const Prefix = folderOf(Key);
    const infos: FileInfo[] = [];
    const at = (key: string): string => `s3://${Bucket}/${key}`;
    await this.#try("listed", path, async (send) => {
      for await (const { Contents = [], CommonPrefixes = [] } of pages(send, { Bucket, Prefix, Delimiter: "/" })) {
        for (const { Key = "", Size = 0, LastModified = null } of Contents) {
          // Some tools mark a folder with an object of its name.
          if (Key === Prefix) continue;
          infos.push({ path: at(Key), name: lastPart(Key), isFolder: false, size: Size, modified: LastModified });
        }
        for (const { Prefix: key = "" } of CommonPrefixes)
          infos.push({ path: at(key), name: lastPart(key), isFolder: true, size: 0, modified: null });
      }
    });
    return infos.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  override async remove(path: string): Promise<void> {
    const { Bucket, Key } = placeOf(path);
    if (Key === "") {
      throw new CheckpointError(`${shownAddress(path)} is a whole bucket, which is not removed.`, {
        code: "EPERM",
        hint: "Name an object or a folder in it.",
      });
    }
    await this.#try("removed", path, async (send) => {
      if (!Key.endsWith("/")) await send("DeleteObject", { Bucket, Key });
      for await (const { Contents = [] } of pages(send, { Bucket, Prefix: folderOf(Key) })) {
        if (Contents.length === 0) continue;
        const Objects = Contents.map(({ Key }) => ({ Key }));
        const { Errors = [] } = await send("DeleteObjects", { Bucket, Delete: { Objects, Quiet: true } });
        if (Errors[0]) throw Object.assign(new Error(Errors[0].Message), { name: Errors[0].Code });
      }
    });
  }

  async #connect(): Promise<Send> {
    const { client, endpoint, region, credentials, forcePathStyle } = this.#options;
    const elsewhere = endpoint ?? process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL;
    const config = {
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined ? {} : { credentials }),
      // Stores of one's own have no regions; the SDK wants one all the same.
      ...(region !== undefined ? { region } : elsewhere && !hasRegion() ? { region: "us-east-1" } : {}),
      forcePathStyle: forcePathStyle ?? elsewhere !== undefined,
      requestHandler: { connectionTimeout: this.#timeout, socketTimeout: this.#timeout },
    };
    this.#connection ??= connect(client, config);
    try {
      return await this.#connection;
    } catch (error) {
      this.#connection = undefined;
      throw error;
    }
  }

  async #try<T>(what: string, path: string, action: (send: Send) => Promise<T>): Promise<T> {
    const send = await this.#connect();
    try {
      return await action(send);
    } catch (error) {
      throw s3Error(what, path, error);
    }
  }

  async #get(path: string, place: object, start: number, end: number): Promise<[S3Answer, Uint8Array]> {
    return await this.#try("read", path, async (send) => {
      try {
        const answer = await send("GetObject", { ...place, Range: `bytes=${start}-${end - 1}` });
        const body = answer.Body as AsyncIterable<Uint8Array> & { destroy?(): void };
        const length = answer.ContentLength ?? null;
        return [answer, await bodyBytes(body, { length, patience: this.#timeout, abandon: () => body.destroy?.() })];
      } catch (error) {
        // An empty object has no first byte.
        if (start === 0 && (error as { name?: string }).name === "InvalidRange") return [{}, new Uint8Array()];
        throw error;
      }
    });
  }
}

function placeOf(path: string): S3Place {
  const [, Bucket = "", Key = ""] = /^[a-z][a-z0-9+.-]*:\/\/([^/]*)\/?(.*)$/is.exec(path) ?? [];
  if (Bucket !== "") return { Bucket, Key };
  throw new CheckpointError(`${shownAddress(path)} names no bucket.`, {
    code: "EINVAL",
    hint: "For example s3://bucket/last.ckpt.",
  });
}

function folderOf(key: string): string {
  return key === "" || key.endsWith("/") ? key : `${key}/`;
}

function totalOf({ ContentRange }: S3Answer, bytes: Uint8Array): number {
  const total = /\/(\d+)$/.exec(ContentRange ?? "")?.[1];
  return total === undefined ? bytes.length : Number(total);
}

function hasRegion(): boolean {
  return Boolean(process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION);
}

async function* pages(send: Send, input: object): AsyncGenerator<S3Answer> {
  let ContinuationToken: string | undefined;
  do {
    const page = await send("ListObjectsV2", { ...input, ContinuationToken });
    yield page;
    ContinuationToken = page.NextContinuationToken;
  } while (ContinuationToken !== undefined);
}
