// Runs a communication hook for the addon, which calls it inside the backward pass.
import { describe } from "../../check.js";
import type { WorkHandle } from "../../distributed/native.js";
import type { ProcessGroup } from "../../distributed/process-group.js";
import type { Handle } from "../../native.js";
import { handleOf, Tensor, wrapHandle } from "../../tensor.js";
import type { Parameter } from "../parameter.js";
import { type CommHook, GradBucket, PendingTensor } from "./grad-bucket.js";

/** internal: the two functions behind a hook that is written in JavaScript. */
export class HookRunner {
  readonly #state: unknown;
  readonly #hook: CommHook;
  readonly #group: ProcessGroup;
  readonly #parameters: readonly Parameter[];
  readonly #pending = new Map<number, PendingTensor>();

  constructor(state: unknown, hook: CommHook, group: ProcessGroup, parameters: readonly Parameter[]) {
    this.#state = state;
    this.#hook = hook;
    this.#group = group;
    this.#parameters = parameters;
  }

  /** Calls the hook: the tensor, or the collective that it waits for. */
  readonly run = (
    index: number,
    isLast: boolean,
    buffer: Handle,
    gradients: Handle[],
    parameters: number[],
  ): [Handle, null] | [null, WorkHandle] => {
    const bucket = new GradBucket(
      { index, isLast, group: this.#group },
      wrapHandle(buffer),
      gradients.map(wrapHandle),
      parameters.map((number) => this.#parameters[number] as Parameter),
    );
    const result: unknown = this.#hook(this.#state, bucket);
    if (result instanceof Tensor) return [handleOf(result), null];
    if (result instanceof PendingTensor) {
      this.#pending.set(index, result);
      return [null, result.handle];
    }
    const isAsync = typeof (result as { then?: unknown } | null | undefined)?.then === "function";
    throw new TypeError(
      isAsync
        ? "A communication hook is synchronous, but this one returned a promise: the backward pass cannot wait for it.\nReturn `bucket.allReduce(...)`, whose end the backward pass waits for, and compute with `.map(...)`."
        : `Expected the communication hook to return a tensor or \`bucket.allReduce(...)\`, but got ${describe(result)}.\nReturn the averaged gradients in a tensor like \`bucket.buffer()\`.`,
    );
  };

  /** The tensor of a collective that has ended. */
  readonly finish = (index: number): Handle => {
    const pending = this.#pending.get(index) as PendingTensor;
    this.#pending.delete(index);
    const result = pending.result();
    if (result instanceof Tensor) return handleOf(result);
    throw new TypeError(
      `Expected the function given to \`map\` in a communication hook to return a tensor, but got ${describe(result)}.`,
    );
  };
}
