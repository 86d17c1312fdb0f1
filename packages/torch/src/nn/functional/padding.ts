// Padding of the last dimensions.
import type { Tensor } from "../../tensor.js";
import { checkWord } from "../arguments.js";
import { aten } from "../aten.js";
import { known } from "./known-options.js";

/** How `pad` fills: with a value, mirrored, with the edge, or going around. */
export type PaddingMode = "constant" | "reflect" | "replicate" | "circular";

const pad_ = aten("pad");

/**
 * Pads by pairs `[before, after]` from the last dimension on: `pad(x, [1, 1, 2, 2])` adds one column at both sides and two
 * rows above and below. Negative sizes cut off.
 */
export function pad(
  input: Tensor,
  sizes: readonly number[],
  options: { mode?: PaddingMode; value?: number } = {},
): Tensor {
  known("pad", options, ["mode", "value"]);
  const { mode = "constant", value = null } = options;
  checkWord("mode", mode, ["constant", "reflect", "replicate", "circular"]);
  return pad_(input, sizes, mode, value);
}
