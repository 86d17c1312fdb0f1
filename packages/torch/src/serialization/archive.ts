// The checkpoint format: a zip archive with the records `data.pkl` (the value as a pickle), `byteorder`, `data/0`, `data/1`...
// (bytes of the storages) and `version`. This file joins the pickle, the zip and the tensors; files.ts adds files.
import { damaged, foreign, refused } from "./damaged.js";
import { finishGraph, readPickle } from "./pickle-reader.js";
import { writePickle } from "./pickle-writer.js";
import type { Reading } from "./reading.js";
import { type MapLocation, makeViews, planStorages, StorageTable, type StorageUse } from "./tensor-records.js";
import { ZipReader, type ZipSource } from "./zip-reader.js";
import { archiveBound, type Sink, ZipWriter } from "./zip-writer.js";

// The same for every file, so that equal values give equal bytes.
const prefix = "archive";
const newestVersion = 10;

/** internal: a value made ready for writing: everything but the elements is already bytes. */
export class ArchiveWriter {
  readonly #pickle: Uint8Array;
  readonly #storages = new StorageTable();

  /** Throws a `TypeError` for values that cannot be saved. */
  constructor(value: unknown) {
    this.#pickle = writePickle(value, (item, path) => this.#storages.describe(item, path));
  }

  /** No archive of this value is longer. */
  get bound(): number {
    const records = this.#storages.records.map(({ key, nbytes }) => ({ name: `${prefix}/data/${key}`, size: nbytes }));
    return archiveBound([
      { name: `${prefix}/data.pkl`, size: this.#pickle.length },
      { name: `${prefix}/byteorder`, size: 6 },
      { name: `${prefix}/version`, size: 2 },
      ...records,
    ]);
  }

  /** Writes the archive. */
  write(sink: Sink): void {
    for (const _ of this.writeInSteps(sink));
  }

  /** The same; pauses after each piece, so that the caller may wait until the sink has room again. */
  *writeInSteps(sink: Sink): Generator<void> {
    const zip = new ZipWriter(sink);
    yield* zip.addInSteps(`${prefix}/data.pkl`, this.#pickle.length, [this.#pickle]);
    zip.add(`${prefix}/byteorder`, 6, [Buffer.from("little")]);
    for (const { key, nbytes } of this.#storages.records)
      yield* zip.addInSteps(`${prefix}/data/${key}`, nbytes, this.#storages.chunks(key));
    zip.add(`${prefix}/version`, 2, [Buffer.from("3\n")]);
    zip.finish();
  }
}

/** internal: an archive whose structure is known and checked, but whose elements are not read. */
export interface OpenArchive {
  zip: ZipReader;
  /** The value, with descriptions in the place of tensors. */
  root: unknown;
  /** The pickle, as errors name it. */
  where: string;
  /** The storages, by record. */
  uses: Map<string, StorageUse>;
}

/** internal: reads everything but the elements: structure and sizes are checked before memory is taken for any of them. */
export function* openArchive(source: ZipSource): Reading<OpenArchive> {
  const zip = yield* ZipReader.open(source);
  const file = source.name;
  if (!zip.has("data.pkl"))
    throw foreign(
      file,
      "it is a zip archive without the record data.pkl.",
      "Name a file that was written by `save` or torch.save.",
    );
  if (zip.has("constants.pkl"))
    throw foreign(file, "it is a TorchScript model.", "Save its `state_dict()` with torch.save in Python.");
  const version = yield* small(zip, "version", file);
  const number = /^(\d{1,4})\n?$/.exec(version ?? "")?.[1];
  if (number === undefined) throw damaged(file, 'its record "version" is missing or not a number.');
  if (Number(number) < 1 || Number(number) > newestVersion) {
    throw foreign(
      file,
      `it has version ${number} of the format; versions 1 to ${newestVersion} are known.`,
      "Update this package.",
    );
  }
  const order = yield* small(zip, "byteorder", file);
  if (order !== null && order !== "little") {
    throw refused(
      file,
      `its numbers are in ${order === "big" ? "big-endian" : "an unknown"} byte order.`,
      "Save it again on a little-endian machine.",
    );
  }
  const where = `${file}: the record "${zip.prefix}/data.pkl"`;
  const { root, tensors } = readPickle(yield* zip.read("data.pkl"), where);
  return { zip, root, where, uses: planStorages(tensors, (key) => zip.size(`data/${key}`), where) };
}

// Short records of text.
function* small(zip: ZipReader, name: string, file: string): Reading<string | null> {
  const size = zip.size(name);
  if (size === null) return null;
  if (size > 64) throw damaged(file, `its record "${name}" has ${size} bytes.`);
  return Buffer.from(yield* zip.read(name)).toString("latin1");
}

/** internal: the value in an archive. */
export function* readArchive(source: ZipSource, mapLocation: MapLocation): Reading<unknown> {
  const { zip, root, where, uses } = yield* openArchive(source);
  for (const [key, use] of uses) makeViews(use, yield* zip.read(`data/${key}`), mapLocation, where);
  return finishGraph(root, where, (tensor) => tensor.made);
}
