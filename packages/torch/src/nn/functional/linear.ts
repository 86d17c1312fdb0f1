// Linear maps.
import type { Tensor } from "../../tensor.js";
import { aten } from "../aten.js";

const linear_ = aten("linear");
const bilinear_ = aten("bilinear");

/** `input @ weight.T + bias`: shapes `[..., in]`, `[out, in]`, `[out]` -> `[..., out]`. */
export function linear(input: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return linear_(input, weight, bias);
}

/** `input1 @ weight @ input2 + bias`: shapes `[..., in1]`, `[..., in2]`, `[out, in1, in2]`, `[out]` -> `[..., out]`. */
export function bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return bilinear_(input1, input2, weight, bias);
}
