// Reads archives as far as that needs no engine: tensors come out as their description and their bytes.
import { openArchive } from "../../../dist/serialization/archive.js";
import { MemorySource } from "../../../dist/serialization/byte-source.js";
import type { PyTensor } from "../../../dist/serialization/pickle-graph.js";
import { finishGraph } from "../../../dist/serialization/pickle-reader.js";
import { readBlocking } from "../../../dist/serialization/reading.js";

export interface ReadTensor {
  dtype: string;
  shape: readonly number[];
  strides: readonly number[];
  offset: number;
  requiresGrad: boolean;
  bytes: string;
}

export function readWithoutEngine(file: Uint8Array): unknown {
  const source = new MemorySource(file);
  const { zip, root, where, uses } = readBlocking(source, openArchive(source));
  for (const [key, use] of uses) {
    const bytes = Buffer.from(readBlocking(source, zip.read(`data/${key}`))).toString("hex");
    for (const view of use.views) view.made = { ...described(view), bytes };
  }
  return finishGraph(root, where, (tensor) => tensor.made);
}

function described({ dtype, shape, strides, offset, requiresGrad }: PyTensor): Omit<ReadTensor, "bytes"> {
  return { dtype, shape: [...shape], strides: [...strides], offset, requiresGrad };
}
