// One file of events as TensorBoard reads it: records with checksums, kept in memory until there are enough of them.
import { hostname } from "node:os";
import { join } from "node:path";
import { appendWhole } from "../append-file.js";
import { Unsaved } from "../unsaved.js";
import { maskedCrc32c } from "./checksum.js";
import { ProtoWriter } from "./protobuf.js";

/** internal: how events are collected before they are written. */
export interface EventFileOptions {
  /** Most events in memory. */
  maxQueue: number;
  /** Most seconds that an event stays in memory. */
  flushSecs: number;
  /** End of the file's name. */
  filenameSuffix: string;
}

/** Whatever the number of events, more bytes than this do not wait. */
const mostBytes = 1 << 20;
let filesMade = 0;

/** internal: writes events to a new file in a folder. `attempt` deals with errors of writing. */
export class EventFile {
  readonly path: string;
  readonly #options: EventFileOptions;
  readonly #attempt: (write: () => void) => boolean;
  readonly #unsaved: Unsaved;
  #records: Uint8Array[] = [];
  #bytes = 0;
  #hasHeader = false;

  constructor(folder: string, options: EventFileOptions, attempt: (write: () => void) => boolean) {
    const seconds = String(Math.floor(Date.now() / 1000)).padStart(10, "0");
    const name = `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.${filesMade++}${options.filenameSuffix}`;
    this.path = join(folder, name);
    this.#options = options;
    this.#attempt = attempt;
    this.#unsaved = new Unsaved(this, options.flushSecs);
    this.#append([]);
  }

  /** Adds an event: what happened, put into the message by `fill`, at a step and at this moment. */
  add(step: number, fill: (event: ProtoWriter) => unknown): void {
    const record = recordOf(event(step, fill));
    this.#records.push(record);
    this.#bytes += record.length;
    if (this.#records.length >= this.#options.maxQueue || this.#bytes >= mostBytes) this.save();
    else this.#unsaved.added();
  }

  /** Writes what is in memory. */
  save(): void {
    const records = this.#records;
    this.#records = [];
    this.#bytes = 0;
    this.#unsaved.clear();
    if (records.length > 0) this.#append(records);
  }

  #append(records: Uint8Array[]): void {
    this.#attempt(() => {
      // Readers want to know first what kind of file it is.
      if (!this.#hasHeader) records.unshift(recordOf(event(0, (header) => header.string(3, "brain.Event:2"))));
      appendWhole(this.path, Buffer.concat(records));
      this.#hasHeader = true;
    });
  }
}

function event(step: number, fill: (event: ProtoWriter) => unknown): Uint8Array {
  const writer = new ProtoWriter().double(1, Date.now() / 1000);
  if (step !== 0) writer.int64(2, step);
  fill(writer);
  return writer.finish();
}

/** Length, its checksum, the bytes, their checksum. */
function recordOf(bytes: Uint8Array): Uint8Array {
  const record = Buffer.allocUnsafe(bytes.length + 16);
  record.writeBigUInt64LE(BigInt(bytes.length), 0);
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  record.set(bytes, 12);
  record.writeUInt32LE(maskedCrc32c(bytes), 12 + bytes.length);
  return record;
}
