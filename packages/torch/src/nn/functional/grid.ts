// Pictures read at places that a grid names: moved, turned, bent.
import { typeError } from "../../check.js";
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkWord } from "../arguments.js";
import { aten } from "../aten.js";
import { known } from "./known-options.js";

const gridSampler = aten("grid_sampler");
const affineGridGenerator = aten("affine_grid_generator");

// In the order of the operator's numbers.
const modes = ["bilinear", "nearest", "bicubic"] as const;
const paddings = ["zeros", "border", "reflection"] as const;

/** Options of `gridSample`. */
export interface GridSampleOptions {
  /** How a value between elements is found (default `"bilinear"`, which is trilinear for volumes). */
  mode?: (typeof modes)[number];
  /** What lies outside of the input (default `"zeros"`). */
  paddingMode?: (typeof paddings)[number];
  /** True: -1 and 1 are the centres of the corners; false, the default: their outer edges. */
  alignCorners?: boolean;
}

/**
 * The values of `input`, `[N, C, H, W]` or `[N, C, D, H, W]`, at the places of `grid`, `[N, h, w, 2]` or `[N, d, h, w, 3]`, with the
 * coordinates x, y (and z) from -1 to 1: shape `[N, C, h, w]` or `[N, C, d, h, w]`.
 */
export function gridSample(input: Tensor, grid: Tensor, options: GridSampleOptions = {}): Tensor {
  known("gridSample", options, ["mode", "paddingMode", "alignCorners"]);
  const { mode = "bilinear", paddingMode = "zeros", alignCorners = false } = options;
  checkWord("mode", mode, modes);
  checkWord("paddingMode", paddingMode, paddings);
  return gridSampler(input, grid, modes.indexOf(mode), paddings.indexOf(paddingMode), alignCorners);
}

/**
 * The grid of the affine maps `theta`, `[N, 2, 3]` or `[N, 3, 4]`, for `gridSample` and results of the shape `size`, `[N, C, H, W]` or
 * `[N, C, D, H, W]`. `alignCorners` (default false) has to be that of `gridSample`.
 */
export function affineGrid(theta: Tensor, size: readonly number[], options: { alignCorners?: boolean } = {}): Tensor {
  known("affineGrid", options, ["alignCorners"]);
  if (!Array.isArray(size)) {
    throw typeError("size", "the shape of the result", size, "Type `nn.functional.affineGrid(theta, [N, C, H, W])`.");
  }
  const dims = size.length - 2;
  if ((dims !== 2 && dims !== 3) || theta.ndim !== 3 || theta.size(1) !== dims || theta.size(2) !== dims + 1) {
    throw new ConfigurationError(
      `\`theta\` has the shape [${theta.shape.join(", ")}] and \`size\` is [${size.join(", ")}], which do not go together.`,
      { hint: "theta [N, 2, 3] is for size [N, C, H, W], theta [N, 3, 4] for size [N, C, D, H, W]." },
    );
  }
  return affineGridGenerator(theta, size, options.alignCorners ?? false);
}
