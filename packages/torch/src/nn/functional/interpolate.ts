// Resizing of images and signals.
import { ConfigurationError } from "../../errors.js";
import type { Tensor } from "../../tensor.js";
import { checkWord } from "../arguments.js";
import { aten } from "../aten.js";
import { known } from "./known-options.js";
import { adaptiveAvgPool1d, adaptiveAvgPool2d, adaptiveAvgPool3d } from "./pooling.js";

const modes = ["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"] as const;

/** Options of `interpolate`: exactly one of `size` and `scaleFactor`. */
export interface InterpolateOptions {
  /** Sizes of the result's spatial dimensions. */
  size?: number | readonly number[];
  /** Factor of the spatial dimensions. */
  scaleFactor?: number | readonly number[];
  /** How values are found (default `"nearest"`). */
  mode?: (typeof modes)[number];
  /** Takes the corners' centres as the ends instead of their edges (default false; not for nearest and area). */
  alignCorners?: boolean;
  /** Computes the factor again from the rounded size (default false). */
  recomputeScaleFactor?: boolean;
  /** Smooths while shrinking; only for two spatial dimensions in modes bilinear and bicubic (default false). */
  antialias?: boolean;
}

// Operator by mode and number of spatial dimensions.
const operators: Record<string, string> = {
  nearest1: "upsample_nearest1d.vec",
  nearest2: "upsample_nearest2d.vec",
  nearest3: "upsample_nearest3d.vec",
  "nearest-exact1": "_upsample_nearest_exact1d.vec",
  "nearest-exact2": "_upsample_nearest_exact2d.vec",
  "nearest-exact3": "_upsample_nearest_exact3d.vec",
  linear1: "upsample_linear1d.vec",
  bilinear2: "upsample_bilinear2d.vec",
  bicubic2: "upsample_bicubic2d.vec",
  trilinear3: "upsample_trilinear3d.vec",
};

/** Resizes the dimensions after batch and channels: shape `[N, C, ...]` -> `[N, C, ...size]`. */
export function interpolate(input: Tensor, options: InterpolateOptions): Tensor {
  known("interpolate", options, ["size", "scaleFactor", "mode", "alignCorners", "recomputeScaleFactor", "antialias"]);
  const {
    size,
    scaleFactor,
    mode = "nearest",
    alignCorners,
    recomputeScaleFactor = false,
    antialias = false,
  } = options;
  checkWord("mode", mode, modes);
  const dims = input.ndim - 2;
  const smooth = mode.endsWith("linear") || mode === "bicubic";
  if (!smooth && alignCorners !== undefined) {
    throw new ConfigurationError(
      `\`alignCorners\` works with the modes linear, bilinear, bicubic and trilinear, not with "${mode}".`,
    );
  }
  if ((size === undefined) === (scaleFactor === undefined)) {
    throw new ConfigurationError("Give exactly one of `size` and `scaleFactor`.", {
      hint: "Type `interpolate(x, { scaleFactor: 2 })`.",
    });
  }
  if (antialias && !(dims === 2 && (mode === "bilinear" || mode === "bicubic"))) {
    throw new ConfigurationError(
      "`antialias` works only for two spatial dimensions in the modes bilinear and bicubic.",
    );
  }
  let outputSize = size === undefined ? null : each("size", size, dims);
  let factors = scaleFactor === undefined ? null : each("scaleFactor", scaleFactor, dims);
  if (factors !== null && (recomputeScaleFactor || mode === "area")) {
    outputSize = factors.map((factor, i) => Math.floor(input.size(i + 2) * factor));
    factors = null;
  }
  if (mode === "area" && outputSize !== null) {
    if (dims === 1) return adaptiveAvgPool1d(input, outputSize);
    return dims === 2 ? adaptiveAvgPool2d(input, outputSize) : adaptiveAvgPool3d(input, outputSize);
  }
  const name = antialias ? `_upsample_${mode}2d_aa.vec` : operators[`${mode}${dims}`];
  if (name === undefined) {
    throw new ConfigurationError(
      `The mode "${mode}" does not fit an input with ${dims} spatial dimensions (shape [${input.shape.join(", ")}]).`,
      {
        hint: "linear is for one, bilinear and bicubic are for two, trilinear is for three.",
      },
    );
  }
  return smooth
    ? aten(name)(input, outputSize, alignCorners ?? false, factors)
    : aten(name)(input, outputSize, factors);
}

function each(name: string, value: number | readonly number[], dims: number): number[] {
  if (typeof value === "number") return new Array<number>(dims).fill(value);
  if (value.length !== dims) {
    throw new ConfigurationError(
      `\`${name}\` has ${value.length} numbers, but the input has ${dims} spatial dimensions.`,
    );
  }
  return [...value];
}
