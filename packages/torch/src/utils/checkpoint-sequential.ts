// A chain of modules checkpointed in segments.
import { typeError } from "../check.js";
import type { Tensor } from "../tensor.js";
import { type CheckpointOptions, checkpoint } from "./checkpoint.js";

type Step = (input: Tensor) => Tensor;

/**
 * Runs the modules one after another, in `segments` parts of equal length; each part but the last is checkpointed.
 * @param functions an `nn.Sequential`, or an array of modules or functions
 */
export function checkpointSequential(
  functions: Iterable<Step>,
  segments: number,
  input: Tensor,
  options: CheckpointOptions = {},
): Tensor {
  if (typeof (functions as { [Symbol.iterator]?: unknown } | null)?.[Symbol.iterator] !== "function") {
    throw typeError("functions", "an nn.Sequential or an array of modules", functions);
  }
  const steps = [...functions];
  if (!Number.isInteger(segments) || segments < 1 || segments > steps.length) {
    throw typeError("segments", `a whole number from 1 to ${steps.length}, the number of modules`, segments);
  }
  const length = Math.floor(steps.length / segments);
  const part = (from: number, to: number) => (x: Tensor) =>
    steps.slice(from, to).reduce((value, step) => step(value), x);
  let value = input;
  const last = length * (segments - 1);
  for (let start = 0; start < last; start += length) {
    value = checkpoint(part(start, start + length), value, options);
  }
  return part(last, steps.length)(value);
}
