// Writes safetensors files: tensors sorted by size of element, then name, as the reference does, so that all are aligned.
import { describe, typeError } from "../check.js";
import { type Dtype, itemSize } from "../dtype.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import { handleOf, Tensor } from "../tensor.js";
import { safeDtypes } from "./safetensors-format.js";
import { withoutLazyBits } from "./tensor-records.js";

/** Tensors by name, such as a state dict. */
export type SafeTensors = Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>;

const names = new Map(Object.entries(safeDtypes).map(([name, dtype]) => [dtype, name]));
const chunkBytes = 1 << 20;

/** internal: the bytes of a file, in pieces that are valid until the next one. Throws a `TypeError` for what cannot be saved. */
export function safetensorsPieces(
  tensors: SafeTensors,
  metadata: Readonly<Record<string, string>>,
): Iterable<Uint8Array> {
  if (typeof tensors !== "object" || tensors === null || Array.isArray(tensors))
    throw typeError("tensors", "an object or Map of tensors by name", tensors, "Pass `model.stateDict()`.");
  const entries = [...(tensors instanceof Map ? tensors : Object.entries(tensors))] as [string, Tensor][];
  for (const [name, tensor] of entries) checkTensor(name, tensor);
  entries.sort(([a, x], [b, y]) => itemSize(y.dtype as Dtype) - itemSize(x.dtype as Dtype) || (a < b ? -1 : 1));
  const header = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) header.set("__metadata__", checkMetadata(metadata));
  let at = 0;
  for (const [name, tensor] of entries) {
    const end = at + tensor.numel() * itemSize(tensor.dtype as Dtype);
    header.set(name, { dtype: names.get(tensor.dtype as Dtype), shape: tensor.shape, data_offsets: [at, end] });
    at = end;
  }
  // Written by hand: an object would put names such as "0" first and take "__proto__" for something else.
  const text = `{${[...header].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`;
  return pieces(Buffer.from(text), entries);
}

function* pieces(text: Buffer, entries: readonly [string, Tensor][]): Generator<Uint8Array> {
  const padded = Math.ceil(text.length / 8) * 8;
  const head = Buffer.alloc(8 + padded, " ");
  head.writeBigUInt64LE(BigInt(padded), 0);
  text.copy(head, 8);
  yield head;
  for (const [, tensor] of entries) {
    const own = operator("aten", "contiguous")(withoutLazyBits(tensor)) as Tensor;
    const start = own.storageOffset() * itemSize(own.dtype as Dtype);
    const bytes = own.numel() * itemSize(own.dtype as Dtype);
    for (let at = 0; at < bytes; at += chunkBytes) {
      yield new Uint8Array(native().readStorage(handleOf(own), start + at, Math.min(chunkBytes, bytes - at)));
    }
  }
}

function checkTensor(name: unknown, tensor: unknown): void {
  if (typeof name !== "string" || name === "__metadata__" || /\p{Surrogate}/u.test(name))
    throw new TypeError(`A tensor cannot be called ${describe(name)} in a safetensors file.\nGive it another name.`);
  if (!(tensor instanceof Tensor))
    throw new TypeError(
      `Expected ${describe(name)} to be a tensor, but got ${describe(tensor)}.\nA safetensors file holds tensors by name only; \`save\` takes other values.`,
    );
  if (!names.has(tensor.dtype as Dtype))
    throw new TypeError(
      `${describe(name)} is a tensor of ${tensor.dtype}, which safetensors files cannot hold.\nConvert it first: .to("float32").`,
    );
  if (tensor.device === "meta")
    throw new TypeError(
      `${describe(name)} is a tensor on the meta device, which has no elements to save.\nGive its module memory first: module.toEmpty({ device: "cpu" }).`,
    );
}

function checkMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  const checked: Record<string, string> = {};
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string")
      throw typeError(`metadata.${key}`, "text", value, "Use JSON.stringify for other values.");
    Object.defineProperty(checked, key, { value, enumerable: true });
  }
  return checked;
}
