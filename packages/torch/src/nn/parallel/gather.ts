// Putting what several devices computed together.
import { describe } from "../../check.js";
import type { Device } from "../../dtype.js";
import { UsageError } from "../../errors.js";
import { cat } from "../../ops.generated.js";
import { Tensor } from "../../tensor.js";
import { warnOnce } from "../warn.js";
import { isPlain } from "./output-tensors.js";

/** internal: one output of the parts of each device: tensors put together along `dim`, scalars as a vector, collections item by item. */
export function gather(outputs: readonly unknown[], device: Device, dim: number): unknown {
  const [first] = outputs;
  if (outputs.every((output) => output instanceof Tensor)) return gatherTensors(outputs, device, dim);
  const item = (pick: (output: never) => unknown): unknown =>
    gather(
      outputs.map((output) => pick(output as never)),
      device,
      dim,
    );
  if (outputs.every(Array.isArray) && sameSize(outputs, (output) => output.length)) {
    return (first as unknown[]).map((_, index) => item((output: unknown[]) => output[index]));
  }
  if (outputs.every((output) => output instanceof Map) && sameSize(outputs, (output) => output.size)) {
    const keys = [...(first as Map<unknown, unknown>).keys()];
    return new Map(keys.map((key) => [key, item((output: Map<unknown, unknown>) => output.get(key))]));
  }
  if (outputs.every(isPlain) && sameSize(outputs, (output) => Object.keys(output).length)) {
    const keys = Object.keys(first as object);
    return Object.fromEntries(keys.map((key) => [key, item((output: Record<string, unknown>) => output[key])]));
  }
  if (outputs.every((output) => Object.is(output, first))) return first;
  throw new UsageError(
    `DataParallel cannot put together what the devices returned: ${outputs.map(describe).join(" and ")}.`,
    { hint: "Return tensors, or arrays and plain objects of tensors, alike on all devices." },
  );
}

function gatherTensors(tensors: readonly Tensor[], device: Device, dim: number): Tensor {
  const moved = tensors.map((tensor) => tensor.to(device));
  if (dim !== 0 || moved.some((tensor) => tensor.ndim > 0)) return cat(moved, dim);
  warnOnce(
    "dataParallelScalars",
    "DataParallel was asked to put scalars of several devices together: it returns a vector of them. Take its mean, or return one value for each sample.",
  );
  return cat(
    moved.map((tensor) => tensor.unsqueeze(0)),
    0,
  );
}

function sameSize<T>(outputs: readonly T[], size: (output: T) => number): boolean {
  return outputs.every((output) => size(output) === size(outputs[0] as T));
}
