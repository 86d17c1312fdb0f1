// Dropout of channels of sequences and volumes, and dropout for self-normalizing networks.
import type { Tensor } from "../../tensor.js";
import { alphaDropout, dropout1d, dropout3d, featureAlphaDropout } from "../functional/dropout.js";
import { Dropout } from "./dropout.js";

/** In training, zeroes whole channels of `[N, C, L]` with probability `p` and scales the rest by `1 / (1 - p)`. */
export class Dropout1d extends Dropout {
  override forward(input: Tensor): Tensor {
    return dropout1d(input, this.p, { training: this.training, inplace: this.inplace });
  }
}

/** In training, zeroes whole channels of `[N, C, D, H, W]` with probability `p` and scales the rest by `1 / (1 - p)`. */
export class Dropout3d extends Dropout {
  override forward(input: Tensor): Tensor {
    return dropout3d(input, this.p, { training: this.training, inplace: this.inplace });
  }
}

/** Dropout that keeps mean and variance, for networks of `SELU` (https://arxiv.org/abs/1706.02515). */
export class AlphaDropout extends Dropout {
  override forward(input: Tensor): Tensor {
    return alphaDropout(input, this.p, { training: this.training, inplace: this.inplace });
  }
}

/** The same of whole channels. */
export class FeatureAlphaDropout extends Dropout {
  override forward(input: Tensor): Tensor {
    return featureAlphaDropout(input, this.p, { training: this.training, inplace: this.inplace });
  }
}
