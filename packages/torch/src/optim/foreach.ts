// internal: ATen's list operators (`_foreach_add_` and the like) on bare handles, so that a step over many parameters is a
// handful of calls that make no JavaScript tensors. Every operator is named with its overload.
import { type Handle, native } from "../native.js";

/** internal: a list operator; results are handles that the caller releases. */
export type ListOperator = (...args: unknown[]) => Handle[];

/** internal: a list operator by name and overload, such as `"_foreach_mul_.Scalar"`. Resolved at its first call. */
export function listOperator(name: string): ListOperator {
  let packet = -1;
  return (...args) => {
    if (packet < 0) packet = native().resolve("aten", name);
    return native().call(packet, ...args) as Handle[];
  };
}

/** internal: the same for `self + alpha * other`, whose `alpha` goes by name. */
function scaledOperator(name: string): (self: Handle[], other: Handle[], alpha: number) => Handle[] {
  let site = -1;
  return (self, other, alpha) => {
    if (site < 0) site = native().callSite(native().resolve("aten", name), ["alpha"]);
    return native().callNamed(site, self, other, alpha) as Handle[];
  };
}

export const foreachAdd = scaledOperator("_foreach_add.List");
export const foreachAdd_ = scaledOperator("_foreach_add_.List");
export const foreachAddScalar_ = listOperator("_foreach_add_.Scalar");
export const foreachMulScalar_ = listOperator("_foreach_mul_.Scalar");
export const foreachDivScalar_ = listOperator("_foreach_div_.Scalar");
export const foreachDivScalars_ = listOperator("_foreach_div_.ScalarList");
export const foreachAddcmul_ = listOperator("_foreach_addcmul_.Scalar");
export const foreachAddcdiv_ = listOperator("_foreach_addcdiv_.Scalar");
export const foreachAddcdivScalars_ = listOperator("_foreach_addcdiv_.ScalarList");
export const foreachAbs = listOperator("_foreach_abs");
export const foreachAddcmul = listOperator("_foreach_addcmul.Scalar");
export const foreachAddScalar = listOperator("_foreach_add.Scalar");
export const foreachDiv_ = listOperator("_foreach_div_.List");
export const foreachDivScalar = listOperator("_foreach_div.Scalar");
export const foreachMul_ = listOperator("_foreach_mul_.List");
export const foreachReciprocal_ = listOperator("_foreach_reciprocal_");
export const foreachSqrt_ = listOperator("_foreach_sqrt_");
const foreachLerp_ = listOperator("_foreach_lerp_.Scalar");
export const foreachMaximum_ = listOperator("_foreach_maximum_.List");
export const foreachNeg = listOperator("_foreach_neg");
export const foreachSqrt = listOperator("_foreach_sqrt");
export const foreachZero_ = listOperator("_foreach_zero_");

// The single-tensor code writes running averages of the gradient with `lerp_` since PyTorch 2.1, which rounds differently.
let usesLerp: boolean | undefined;

/** internal: `average = decay * average + (1 - decay) * value`, in place, with the roundings of the engine's PyTorch. */
export function foreachAverage_(averages: Handle[], values: Handle[], decay: number): void {
  if (usesLerp === undefined) {
    const [major = 0, minor = 0] = native().versions().torch.split(".").map(Number);
    usesLerp = major > 2 || (major === 2 && minor >= 1);
  }
  if (usesLerp) {
    foreachLerp_(averages, values, 1 - decay);
    return;
  }
  foreachMulScalar_(averages, decay);
  foreachAdd_(averages, values, 1 - decay);
}

/** internal: complex tensors as real ones with a dimension more, sharing their memory. */
export function asReal(list: readonly Handle[]): Handle[] {
  const packet = native().resolve("aten", "view_as_real");
  return list.map((handle) => native().call(packet, handle) as Handle);
}

/** internal: frees temporaries now, so that the next list finds their blocks still in the cache. */
export function releaseAll(handles: readonly Handle[]): void {
  const binding = native();
  for (let i = 0; i < handles.length; i++) binding.release(handles[i] as Handle);
}
