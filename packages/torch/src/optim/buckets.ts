// internal: the parameters of a group that have a gradient, sorted into lists of one device and dtype, which is what the
// list operators want.
import { type Handle, native } from "../native.js";
import { handleOf, type Tensor } from "../tensor.js";
import type { ParamGroup } from "./param-group.js";

/** internal: parameters of one device and dtype with their gradients. `grads` belong to the step and are released after it. */
export interface Bucket {
  params: Tensor[];
  handles: Handle[];
  grads: Handle[];
  isComplex: boolean;
}

// Where each parameter of a group goes. It is computed once: a stale one (a parameter was moved alone) costs speed only,
// because the list operators take mixed lists too.
interface Layout {
  params: readonly Tensor[];
  slots: number[];
  first: Tensor[];
  kinds: string[];
}

const layouts = new WeakMap<ParamGroup, Layout>();

function kindOf(param: Tensor): string {
  const handle = handleOf(param);
  return `${native().dtype(handle)} ${native().device(handle)}`;
}

function makeLayout(params: readonly Tensor[]): Layout {
  const layout: Layout = { params, slots: [], first: [], kinds: [] };
  for (const param of params) {
    const kind = kindOf(param);
    let slot = layout.kinds.indexOf(kind);
    if (slot < 0) {
      slot = layout.kinds.push(kind) - 1;
      layout.first.push(param);
    }
    layout.slots.push(slot);
  }
  return layout;
}

function isCurrent(layout: Layout | undefined, params: readonly Tensor[]): layout is Layout {
  if (layout === undefined || layout.params !== params || layout.slots.length !== params.length) return false;
  return layout.first.every((param, i) => kindOf(param) === layout.kinds[i]);
}

/** internal: the buckets of a group; parameters without a gradient are in none. */
export function gradientBuckets(group: ParamGroup): Bucket[] {
  const params = group.params;
  let layout = layouts.get(group);
  if (!isCurrent(layout, params)) {
    layout = makeLayout(params);
    layouts.set(group, layout);
  }
  const buckets: Bucket[] = layout.kinds.map((kind) => ({
    params: [],
    handles: [],
    grads: [],
    isComplex: kind.startsWith("complex"),
  }));
  const binding = native();
  for (let i = 0; i < params.length; i++) {
    const param = params[i] as Tensor;
    const handle = handleOf(param);
    const grad = binding.grad(handle);
    if (grad === null) continue;
    const bucket = buckets[layout.slots[i] as number] as Bucket;
    bucket.params.push(param);
    bucket.handles.push(handle);
    bucket.grads.push(grad);
  }
  return buckets.filter((bucket) => bucket.params.length > 0);
}
