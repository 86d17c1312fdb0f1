// Communication hooks for `DistributedDataParallel.registerCommHook`: plain averaging, and gradients sent in 16 bits.
import type { Dtype } from "../../dtype.js";
import type { Tensor } from "../../tensor.js";
import { type CommHook, type GradBucket, PendingTensor } from "./grad-bucket.js";

/** Averages as DistributedDataParallel does without a hook: to start from, and to put wrappers around. */
export const allReduceHook: CommHook = (_state, bucket) => bucket.allReduce(bucket.buffer().div_(bucket.group.size));

/**
 * Sends gradients in float16, which halves the traffic. Gradients beyond 65504 overflow, those below 6e-8 vanish. Registered as it is, it
 * runs natively, on CUDA too.
 */
export const fp16CompressHook: CommHook = (_state, bucket) => compressed(bucket, "float16");

/**
 * Sends gradients in bfloat16, which halves the traffic and keeps the range of float32 with 8 bits of precision. Gloo cannot add bfloat16
 * up: up to four ranks gather each other's gradients and add them in float32; more ranks send float32. Registered as it is, it runs
 * natively, on CUDA too.
 */
export const bf16CompressHook: CommHook = (_state, bucket) => compressed(bucket, "bfloat16");

/** internal: the native version of a hook. */
export const nativeHooks = new Map<unknown, "fp16" | "bf16">([
  [fp16CompressHook, "fp16"],
  [bf16CompressHook, "bf16"],
]);

/** The hook with gradients in float16 on its way in and out: `fp16CompressWrapper(powerSGDHook)`. */
export function fp16CompressWrapper<S>(hook: CommHook<S>): CommHook<S> {
  return wrapped(hook, "float16");
}

/** The hook with gradients in bfloat16 on its way in and out. */
export function bf16CompressWrapper<S>(hook: CommHook<S>): CommHook<S> {
  return wrapped(hook, "bfloat16");
}

function compressed(bucket: GradBucket, dtype: Dtype): PendingTensor {
  const buffer = bucket.buffer();
  return bucket.allReduce(buffer.to(dtype).div_(bucket.group.size)).map((sum) => buffer.copy_(sum));
}

function wrapped<S>(hook: CommHook<S>, dtype: Dtype): CommHook<S> {
  return (state, bucket) => {
    const buffer = bucket.buffer();
    bucket.setBuffer(buffer.to(dtype));
    const back = (result: Tensor): Tensor => buffer.copy_(result);
    const result = hook(state, bucket);
    return result instanceof PendingTensor ? result.map(back) : back(result);
  };
}
