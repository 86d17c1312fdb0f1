// Batch normalization of images.
import type { Tensor } from "../../tensor.js";
import { BatchNorm, checkInputDims } from "./batch-norm.js";

/** Normalizes each channel over the batch: shape `[N, numFeatures, H, W]`. */
export class BatchNorm2d extends BatchNorm {
  protected override checkInput(input: Tensor): void {
    checkInputDims(this, input, [4], "the shape [N, C, H, W]");
  }
}
