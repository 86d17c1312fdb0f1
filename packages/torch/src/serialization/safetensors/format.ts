// The header of a safetensors file: u64 length, JSON, then the elements of all tensors without holes. A file is taken for hostile:
// every rule of the reference reader is checked, and some that it leaves open, before memory is taken for any tensor.
import { type Dtype, itemSize } from "../../dtype.js";
import { damaged, refused } from "../damaged.js";
import { scanJson } from "./json-scan.js";

/** internal: where a tensor lies in the file's data. */
export interface TensorEntry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** First byte and the one behind the last, counted from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

/** internal: what a header says. */
export interface Header {
  /** Without a prototype, in the order of the file. */
  readonly tensors: Map<string, TensorEntry>;
  readonly metadata: Record<string, string>;
}

/** internal: the reference's names of element types that the engine has. */
export const safeDtypes: Readonly<Record<string, Dtype>> = {
  BOOL: "bool",
  U8: "uint8",
  I8: "int8",
  I16: "int16",
  I32: "int32",
  I64: "int64",
  F16: "float16",
  BF16: "bfloat16",
  F32: "float32",
  F64: "float64",
  C64: "complex64",
};
const otherDtypes = ["U16", "U32", "U64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2", "C128"];

/** internal: the longest header that is read, as in the reference. */
export const mostHeaderBytes = 100_000_000;
const mostTensors = 100_000;
const mostDimensions = 64;

/** internal: reads the header's text; `dataBytes` is what follows it in the file. */
export function parseHeader(text: string, dataBytes: number, where: string): Header {
  const fault = (what: string): Error => damaged(where, `its header ${what}.`);
  if (!text.startsWith("{")) throw fault("does not start with {");
  // One more than there may be tensors: for the metadata.
  const raw = scanJson(text, mostTensors + 1, (what) => fault(`cannot be read: ${what}`));
  const tensors = new Map<string, TensorEntry>();
  const metadata = Object.create(null) as Record<string, string>;
  if (!(raw instanceof Map)) throw fault("is no object");
  for (const [name, value] of raw) {
    if (name === "__metadata__") readMetadata(value, metadata, fault);
    else tensors.set(name, readEntry(name, value, where));
  }
  checkLayout(tensors, dataBytes, where);
  return { tensors, metadata };
}

function readMetadata(value: unknown, into: Record<string, string>, fault: (what: string) => Error): void {
  if (!(value instanceof Map)) throw fault("has a __metadata__ that is no object");
  for (const [key, item] of value) {
    if (typeof item !== "string") throw fault("has a __metadata__ with something other than text");
    into[key as string] = item;
  }
}

function readEntry(name: string, value: unknown, where: string): TensorEntry {
  const fault = (what: string): Error => damaged(where, `the tensor ${shown(name)} ${what}.`);
  if (/\p{Surrogate}/u.test(name)) throw fault("has a name that is no text");
  if (!(value instanceof Map) || value.size !== 3) throw fault("is not described by dtype, shape and data_offsets");
  const [dtypeName, shape, offsets] = ["dtype", "shape", "data_offsets"].map((key) => value.get(key));
  if (typeof dtypeName !== "string" || !isCounts(shape) || !isCounts(offsets) || offsets.length !== 2)
    throw fault("is not described by dtype, shape and data_offsets");
  const dtype = Object.hasOwn(safeDtypes, dtypeName) ? safeDtypes[dtypeName] : undefined;
  if (dtype === undefined) {
    if (!otherDtypes.includes(dtypeName)) throw fault(`has the unknown dtype ${shown(dtypeName)}`);
    throw refused(
      where,
      `the tensor ${shown(name)} has the dtype ${dtypeName}, which the engine does not have.`,
      "Convert it first.",
    );
  }
  if (shape.length > mostDimensions) throw fault(`has ${shape.length} dimensions`);
  let bytes = itemSize(dtype);
  // A zero anywhere makes the product zero, but the others must not overflow the engine on their own.
  let extent = bytes;
  for (const size of shape) {
    bytes *= size;
    extent *= Math.max(size, 1);
    if (extent > Number.MAX_SAFE_INTEGER) throw fault("has a shape that is too large");
  }
  const [begin, end] = offsets as [number, number];
  if (end - begin !== bytes) throw fault(`needs ${bytes} bytes, but has ${end - begin}`);
  return { dtype, shape, begin, end };
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0 && !Object.is(item, -0));
}

// One after another from the first byte to the last, also those of no size.
function checkLayout(tensors: ReadonlyMap<string, TensorEntry>, dataBytes: number, where: string): void {
  const sorted = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const [name, { begin, end }] of sorted) {
    if (begin !== at) {
      const what = begin < at ? "overlaps another one" : "has a hole in front of it";
      throw damaged(where, `the tensor ${shown(name)} ${what}.`);
    }
    at = end;
  }
  if (at !== dataBytes) throw damaged(where, `its tensors have ${at} bytes, but ${dataBytes} follow its header.`);
}

function shown(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 97)}...` : name);
}
