// What a communication hook of DistributedDataParallel gets and gives: a bucket of gradients, and a result on its way.
import { typeError } from "../../check.js";
import { startAllReduce } from "../../distributed/collectives.js";
import type { WorkHandle } from "../../distributed/native.js";
import type { ProcessGroup } from "../../distributed/process-group.js";
import type { ReduceOp } from "../../distributed/reduce-op.js";
import type { Work } from "../../distributed/work.js";
import { Tensor } from "../../tensor.js";
import type { Parameter } from "../parameter.js";

/**
 * Replaces the averaging of a bucket. It runs on the JavaScript thread inside the backward pass, once for each bucket in the same order
 * on all ranks, and gives the averaged gradients: as a tensor like `bucket.buffer()`, or as a collective on its way that the end of the
 * backward pass waits for. It cannot be async. `state` is what was registered with it.
 */
export type CommHook<S = unknown> = (state: S, bucket: GradBucket) => Tensor | PendingTensor;

/** Gradients of some parameters of this rank, not averaged yet, in one flat tensor. */
export class GradBucket {
  /** Its number among the buckets, from 0. Buckets are cut anew after the first backward pass. */
  readonly index: number;
  /** True for the last bucket of a backward pass. */
  readonly isLast: boolean;
  /** The processes to average over. */
  readonly group: ProcessGroup;
  readonly #gradients: readonly Tensor[];
  readonly #parameters: readonly Parameter[];
  #buffer: Tensor;

  /** internal: made by DistributedDataParallel. */
  constructor(
    place: { index: number; isLast: boolean; group: ProcessGroup },
    buffer: Tensor,
    gradients: readonly Tensor[],
    parameters: readonly Parameter[],
  ) {
    this.index = place.index;
    this.isLast = place.isLast;
    this.group = place.group;
    this.#buffer = buffer;
    this.#gradients = gradients;
    this.#parameters = parameters;
  }

  /** All gradients of the bucket as one tensor with one dimension; may be changed in place. */
  buffer(): Tensor {
    return this.#buffer;
  }
  /** Replaces what `buffer()` gives, for hooks around hooks. */
  setBuffer(buffer: Tensor): void {
    if (!(buffer instanceof Tensor)) throw typeError("buffer", "a Tensor", buffer);
    this.#buffer = buffer;
  }
  /** The gradients one by one, in the shapes of their parameters: views into the original buffer. */
  gradients(): readonly Tensor[] {
    return this.#gradients;
  }
  /** The parameters in the order of `gradients()`. */
  parameters(): readonly Parameter[] {
    return this.#parameters;
  }
  /** Starts an all-reduce of a tensor, in place. It is a sum unless told otherwise: divide by `bucket.group.size` for an average. */
  allReduce(tensor: Tensor, options: { op?: ReduceOp } = {}): PendingTensor {
    return new PendingTensor(startAllReduce(tensor, { ...options, group: this.group, label: "communication hook" }));
  }
}

/** A tensor that the end of the backward pass waits for. */
export class PendingTensor {
  readonly #work: Work<Tensor>;
  readonly #steps: readonly ((tensor: Tensor) => Tensor)[];

  /** internal: see `GradBucket.allReduce`. */
  constructor(work: Work<Tensor>, steps: readonly ((tensor: Tensor) => Tensor)[] = []) {
    this.#work = work;
    this.#steps = steps;
  }

  /** The same with `fn` applied to the tensor when it has come. */
  map(fn: (tensor: Tensor) => Tensor): PendingTensor {
    if (typeof fn !== "function") throw typeError("fn", "a function", fn);
    return new PendingTensor(this.#work, [...this.#steps, fn]);
  }
  /** Waits for the tensor, blocking. */
  wait(): Tensor {
    this.#work.waitSync();
    return this.result();
  }
  /** internal: the collective. */
  get handle(): WorkHandle {
    return this.#work.handle;
  }
  /** internal: the tensor, once the collective has ended. */
  result(): Tensor {
    return this.#steps.reduce((tensor, step) => step(tensor), this.#work.result());
  }
}
