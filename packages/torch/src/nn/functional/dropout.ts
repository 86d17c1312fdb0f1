// Dropout: random zeros during training.
import type { Tensor } from "../../tensor.js";
import { checkNumber } from "../arguments.js";
import { aten } from "../aten.js";
import { known } from "./known-options.js";

/** Options of the dropout functions. */
export interface DropoutOptions {
  /** Probability of a zero (default 0.5). */
  p?: number;
  /** Without training the input comes back as it is (default true). */
  training?: boolean;
  /** Overwrite the input (default false). */
  inplace?: boolean;
}

const elements = aten("dropout");
const elementsInplace = aten("dropout_");
const channels = aten("feature_dropout");
const channelsInplace = aten("feature_dropout_");
const alpha = aten("alpha_dropout");
const alphaInplace = aten("alpha_dropout_");
const alphaChannels = aten("feature_alpha_dropout");
const alphaChannelsInplace = aten("feature_alpha_dropout_");

/** Zeroes elements with probability `p` and scales the rest by `1 / (1 - p)`. `dropout(x, 0.1)` or `dropout(x, { p: 0.1, training })`. */
export function dropout(input: Tensor, p: number | DropoutOptions = 0.5, options: DropoutOptions = {}): Tensor {
  return run(elements, elementsInplace, input, p, options);
}

/** The same for whole channels of an input of shape `[N, C, ...]`. */
export function dropout2d(input: Tensor, p: number | DropoutOptions = 0.5, options: DropoutOptions = {}): Tensor {
  return run(channels, channelsInplace, input, p, options);
}

/** The same for channels of sequences `[N, C, L]` (or `[C, L]`). */
export function dropout1d(input: Tensor, p: number | DropoutOptions = 0.5, options: DropoutOptions = {}): Tensor {
  if (input.ndim !== 2) return run(channels, channelsInplace, input, p, options);
  return run(channels, channelsInplace, input.unsqueeze(0), p, options).squeeze(0);
}

/** The same for whole channels of an input of shape `[N, C, D, H, W]`. */
export function dropout3d(input: Tensor, p: number | DropoutOptions = 0.5, options: DropoutOptions = {}): Tensor {
  return run(channels, channelsInplace, input, p, options);
}

/** Sets elements to the negative saturation of SELU with probability `p`, and keeps mean and variance. */
export function alphaDropout(input: Tensor, p: number | DropoutOptions = 0.5, options: DropoutOptions = {}): Tensor {
  return run(alpha, alphaInplace, input, p, options);
}

/** The same for whole channels. */
export function featureAlphaDropout(
  input: Tensor,
  p: number | DropoutOptions = 0.5,
  options: DropoutOptions = {},
): Tensor {
  return run(alphaChannels, alphaChannelsInplace, input, p, options);
}

type Operator = (input: Tensor, p: number, training: boolean) => Tensor;

function run(
  plain: Operator,
  inplace: Operator,
  input: Tensor,
  p: number | DropoutOptions,
  more: DropoutOptions,
): Tensor {
  const options = typeof p === "object" ? p : more;
  known("dropout", options, ["p", "training", "inplace"]);
  const probability = checkNumber("p", typeof p === "object" ? (p.p ?? 0.5) : p, 0, 1);
  return (options.inplace ? inplace : plain)(input, probability, options.training ?? true);
}
