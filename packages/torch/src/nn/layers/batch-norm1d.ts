// Batch normalization of features and signals.
import type { Tensor } from "../../tensor.js";
import { BatchNorm, checkInputDims } from "./batch-norm.js";

/** Normalizes each channel over the batch: shape `[N, numFeatures]` or `[N, numFeatures, L]`. */
export class BatchNorm1d extends BatchNorm {
  protected override checkInput(input: Tensor): void {
    checkInputDims(this, input, [2, 3], "the shape [N, C] or [N, C, L]");
  }
}
