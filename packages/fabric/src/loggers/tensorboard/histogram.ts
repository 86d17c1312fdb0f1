// Histograms with the buckets that TensorBoard's own writers use: exponential, symmetric around zero.
import { ConfigurationError } from "@fabric-ts/torch";
import type { ProtoWriter } from "./protobuf.js";

// Upper limits: ... -1.1e-12, -1e-12, 0, 1e-12, 1.1e-12, ... up to 1e20.
let limits: Float64Array | undefined;

function bucketLimits(): Float64Array {
  if (limits) return limits;
  const positive: number[] = [];
  for (let v = 1e-12; v < 1e20; v *= 1.1) positive.push(v);
  const negative = positive.map((v) => -v).reverse();
  limits = Float64Array.from([...negative, 0, ...positive]);
  return limits;
}

/** internal: writes a HistogramProto. NaN and infinities are left out. */
export function writeHistogram(writer: ProtoWriter, values: ArrayLike<number | bigint>): void {
  const edges = bucketLimits();
  // Bucket i holds what is at least edges[i] and less than edges[i + 1], the last also its upper end.
  const counts = new Float64Array(edges.length - 1);
  let [min, max, count, sum, sumOfSquares] = [Infinity, -Infinity, 0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = Number(values[i]);
    if (!Number.isFinite(value)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
    count++;
    sum += value;
    sumOfSquares += value * value;
    const bucket = bucketOf(edges, value);
    counts[bucket] = (counts[bucket] as number) + 1;
  }
  if (count === 0) {
    throw new ConfigurationError("There is no finite number for the histogram.", {
      hint: "The tensor is empty, or all of it is NaN or infinite: look at what comes before it.",
    });
  }
  // From the bucket before the first that holds something to the last one that does.
  const first = Math.max(counts.findIndex((n) => n > 0) - 1, 0);
  const last = counts.findLastIndex((n) => n > 0);
  writer.double(1, min).double(2, max).double(3, count).double(4, sum).double(5, sumOfSquares);
  writer.doubles(6, edges.subarray(first + 1, last + 2)).doubles(7, counts.subarray(first, last + 1));
}

/** By bisection; what is outside of all goes into the first and the last. */
function bucketOf(edges: Float64Array, value: number): number {
  let low = 0;
  let high = edges.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((edges[middle] as number) <= value) low = middle;
    else high = middle;
  }
  return low;
}
