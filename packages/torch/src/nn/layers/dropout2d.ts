// Dropout of whole channels.
import type { Tensor } from "../../tensor.js";
import { dropout2d } from "../functional/dropout.js";
import { Dropout } from "./dropout.js";

/** In training, zeroes whole channels of `[N, C, H, W]` with probability `p` and scales the rest by `1 / (1 - p)`. */
export class Dropout2d extends Dropout {
  override forward(input: Tensor): Tensor {
    return dropout2d(input, this.p, { training: this.training, inplace: this.inplace });
  }
}
