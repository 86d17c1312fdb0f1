// Batch normalization of volumes.
import type { Tensor } from "../../tensor.js";
import { BatchNorm, checkInputDims } from "./batch-norm.js";

/** Normalizes each channel over the batch: shape `[N, numFeatures, D, H, W]`. */
export class BatchNorm3d extends BatchNorm {
  protected override checkInput(input: Tensor): void {
    checkInputDims(this, input, [5], "the shape [N, C, D, H, W]");
  }
}
