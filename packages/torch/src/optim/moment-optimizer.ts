// internal: what the optimizers that keep running averages share: buckets, their state, weight decay, temporaries.

import { NotSupportedError } from "../errors.js";
import { unscoped } from "../memory.js";
import { type Handle, native } from "../native.js";
import { operator } from "../ops.js";
import { handleOf, Tensor, wrapHandle } from "../tensor.js";
import { type Bucket, gradientBuckets } from "./buckets.js";
import { asReal, foreachAdd, foreachMulScalar_, foreachNeg, releaseAll } from "./foreach.js";
import { missingState, Optimizer } from "./optimizer.js";
import type { ParamGroup } from "./param-group.js";
import { takeSparse } from "./sparse.js";

/** internal: lists of handles that one step works on, all of parameters that made the same number of steps. */
export interface Work {
  params: Handle[];
  /** With the sign and the weight decay applied; the step may not change them in place. */
  grads: Handle[];
  /** The number of this step, from 1. */
  step: number;
  /** The records of the parameters. */
  records: Record<string, unknown>[];
  /** The tensors that the state has under a name. */
  state(name: string): Handle[];
  /** Marks a list of new tensors to be freed after the step. */
  made(list: Handle[]): Handle[];
}

/** internal: base class of optimizers whose state is `step` and tensors of the parameter's shape. */
export abstract class MomentOptimizer extends Optimizer {
  /** Names of the state's tensors beside `step`, in PyTorch's order. */
  protected abstract tensorNames(group: ParamGroup): readonly string[];
  /** Changes the parameters. */
  protected abstract updateWork(group: ParamGroup, work: Work): void;

  /** A new parameter's state: zeros. */
  protected initialize(record: Record<string, unknown>, param: Tensor, group: ParamGroup): void {
    record.step = 0;
    for (const name of this.tensorNames(group)) record[name] = operator("aten", "zeros_like")(param);
  }

  protected override stateNames(group: ParamGroup): readonly string[] {
    return ["step", ...this.tensorNames(group)];
  }

  // PyTorch keeps numbers of the state as float32 tensors.
  protected override packState(record: Record<string, unknown>): Record<string, unknown> {
    const entries = Object.entries(record).map(([name, value]) => [
      name,
      typeof value === "number" ? wrapHandle(native().fromBytes(new Float32Array([value]), "float32", [])) : value,
    ]);
    return Object.fromEntries(entries) as Record<string, unknown>;
  }
  protected override unpackState(record: Record<string, unknown>): Record<string, unknown> {
    const entries = Object.entries(record).map(([name, value]) => {
      const isNumber = name === "step" || name === "mu_product";
      return [name, isNumber && value instanceof Tensor ? Number(value.item()) : value];
    });
    return Object.fromEntries(entries) as Record<string, unknown>;
  }

  protected override updateGroup(group: ParamGroup): void {
    for (const bucket of gradientBuckets(group)) {
      try {
        for (const { param, grad } of takeSparse(bucket)) {
          const record = this.#advance(param, group);
          this.updateRows(group, param, grad, record);
        }
        for (const part of this.#byStep(group, bucket)) this.#update(group, part.bucket, part.records);
      } finally {
        releaseAll(bucket.grads);
      }
    }
  }

  /** Changes a parameter whose gradient is sparse. Most optimizers cannot. */
  protected updateRows(_group: ParamGroup, _param: Tensor, _grad: Tensor, _record: Record<string, unknown>): void {
    throw new NotSupportedError(`${this.constructor.name} does not support sparse gradients.`, {
      hint: "Use SparseAdam, SGD or Adagrad for such embeddings, or make them with `{ sparse: false }`.",
    });
  }

  /** The record of a parameter, counted on. */
  #advance(param: Tensor, group: ParamGroup): Record<string, unknown> {
    const record = this.stateOf(param);
    if (record.step === undefined) unscoped(() => this.initialize(record, param, group));
    record.step = (record.step as number) + 1;
    return record;
  }

  /** The bucket's parts of equal step counts, with the records of their parameters, counted on. */
  #byStep(group: ParamGroup, bucket: Bucket): { bucket: Bucket; records: Record<string, unknown>[] }[] {
    const parts = new Map<number, { bucket: Bucket; records: Record<string, unknown>[] }>();
    bucket.params.forEach((param, i) => {
      const record = this.#advance(param, group);
      const step = record.step as number;
      let part = parts.get(step);
      if (part === undefined) {
        part = { bucket: { params: [], handles: [], grads: [], isComplex: bucket.isComplex }, records: [] };
        parts.set(step, part);
      }
      part.bucket.params.push(param);
      part.bucket.handles.push(bucket.handles[i] as Handle);
      part.bucket.grads.push(bucket.grads[i] as Handle);
      part.records.push(record);
    });
    return [...parts.values()];
  }

  #update(group: ParamGroup, bucket: Bucket, records: Record<string, unknown>[]): void {
    const temporary: Handle[][] = [];
    const made = (list: Handle[]): Handle[] => {
      temporary.push(list);
      return list;
    };
    const real = (list: Handle[]): Handle[] => (bucket.isComplex ? made(asReal(list)) : list);
    try {
      const weightDecay = (group.weightDecay as number | undefined) ?? 0;
      let { grads } = bucket;
      if (group.maximize) grads = made(foreachNeg(grads));
      if (weightDecay !== 0) {
        if (group.decoupledWeightDecay) foreachMulScalar_(bucket.handles, 1 - group.lr * weightDecay);
        else grads = made(foreachAdd(grads, bucket.handles, weightDecay));
      }
      this.updateWork(group, {
        params: real(bucket.handles),
        grads: real(grads),
        step: records[0]?.step as number,
        records,
        made,
        state: (name) =>
          real(
            records.map((record) => {
              if (!(record[name] instanceof Tensor)) throw missingState(this, name);
              return handleOf(record[name]);
            }),
          ),
      });
    } finally {
      for (const list of temporary) releaseAll(list);
    }
  }
}
