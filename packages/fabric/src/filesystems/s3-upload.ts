// An object being written: parts are sent while others are made, and the object appears when all of them are there.
import { builtins, UsageError } from "@fabric-ts/torch";
import type { FileWriter } from "./file-system.js";
import { type S3Answer, type Send, s3Error } from "./s3-client.js";

// The store takes 10,000 parts: every thousand the next are twice as large, which is enough for the largest object that it takes.
const firstPartBytes = 8 << 20;
const partsOfOneSize = 1000;
const partsAtOnce = 4;
const marker = "fabric-upload";

/** internal: where an object goes. */
export interface S3Place {
  readonly Bucket: string;
  readonly Key: string;
}

/** internal: one object, sent in one request where it is small. */
export class S3Upload implements FileWriter {
  readonly #path: string;
  readonly #place: S3Place;
  readonly #send: Send;
  readonly #id = builtins.crypto.randomUUID();
  readonly #stop = new AbortController();
  readonly #sending = new Set<Promise<void>>();
  readonly #etags: string[] = [];
  #part: Buffer = Buffer.allocUnsafe(firstPartBytes);
  #filled = 0;
  #uploadId: string | undefined;
  #failure: unknown;
  #state: "open" | "done" | "aborted" = "open";

  constructor(path: string, place: S3Place, send: Send) {
    this.#path = path;
    this.#place = place;
    this.#send = send;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#orAbort(async () => {
      for (let done = 0; done < bytes.length; ) {
        const count = Math.min(bytes.length - done, this.#part.length - this.#filled);
        this.#part.set(bytes.subarray(done, done + count), this.#filled);
        this.#filled += count;
        done += count;
        if (this.#filled === this.#part.length) await this.#sendPart();
      }
    });
  }

  async commit(): Promise<void> {
    await this.#orAbort(async () => {
      const Body = this.#part.subarray(0, this.#filled);
      if (this.#uploadId === undefined && this.#etags.length === 0) {
        await this.#send("PutObject", { ...this.#place, Body });
      } else {
        if (this.#filled > 0) await this.#sendPart();
        await Promise.all(this.#sending);
        if (this.#failure !== undefined) throw this.#failure;
        await this.#complete();
      }
      this.#state = "done";
    });
  }

  async abort(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "aborted";
    this.#stop.abort();
    await Promise.all(this.#sending);
    if (this.#uploadId === undefined) return;
    try {
      await this.#send("AbortMultipartUpload", { ...this.#place, UploadId: this.#uploadId });
    } catch {
      // Nobody sees the parts; a rule of the bucket's life cycle removes them.
    }
  }

  async #orAbort(action: () => Promise<void>): Promise<void> {
    if (this.#state !== "open") {
      throw new UsageError(`The upload to ${this.#path} has ended.`, { hint: "Open the file again to write it anew." });
    }
    try {
      await action();
    } catch (error) {
      await this.abort();
      throw s3Error("written", this.#path, error);
    }
  }

  async #sendPart(): Promise<void> {
    if (this.#uploadId === undefined) {
      const Metadata = { [marker]: this.#id };
      const { UploadId } = await this.#send("CreateMultipartUpload", { ...this.#place, Metadata });
      this.#uploadId = UploadId as string;
    }
    const Body = this.#part.subarray(0, this.#filled);
    const index = this.#etags.push("") - 1;
    const input = { ...this.#place, UploadId: this.#uploadId, PartNumber: index + 1, Body };
    const sending = this.#send("UploadPart", input, this.#stop.signal)
      .then(({ ETag }: S3Answer) => {
        this.#etags[index] = ETag as string;
      })
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => this.#sending.delete(sending));
    this.#sending.add(sending);
    this.#part = Buffer.allocUnsafe(firstPartBytes * 2 ** Math.floor(this.#etags.length / partsOfOneSize));
    this.#filled = 0;
    if (this.#sending.size >= partsAtOnce) await Promise.race(this.#sending);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #complete(): Promise<void> {
    const Parts = this.#etags.map((ETag, index) => ({ ETag, PartNumber: index + 1 }));
    const input = { ...this.#place, UploadId: this.#uploadId, MultipartUpload: { Parts } };
    try {
      await this.#send("CompleteMultipartUpload", input);
    } catch (error) {
      // When the answer is lost, asking again finds no such upload, as it is complete.
      const there = await this.#send("HeadObject", { ...this.#place }).catch((): S3Answer => ({}));
      if (there.Metadata?.[marker] !== this.#id) throw error;
    }
  }
}
