// Weights of a learned length, and weights whose greatest singular value is one. Python: `torch.nn.utils.parametrizations`.
import { noGrad } from "../../autograd/grad-mode.js";
import { ConfigurationError } from "../../errors.js";
import { Tensor } from "../../tensor.js";
import { checkNumber, checkOptions, checkSize } from "../arguments.js";
import { aten } from "../aten.js";
import { normalize } from "../functional/distance.js";
import { ConvTranspose1d } from "../layers/conv-transpose1d.js";
import { ConvTranspose2d } from "../layers/conv-transpose2d.js";
import { ConvTranspose3d } from "../layers/conv-transpose3d.js";
import { type AnyModule, Module } from "../module.js";
import { registerParametrization } from "./parametrize.js";

const withLength = aten("_weight_norm");
const normExceptDim = aten("norm_except_dim");

/** Options of `weightNorm`. */
export interface WeightNormOptions {
  /** Which parameter (default `"weight"`). */
  name?: string | undefined;
  /** The dimension each of whose slices has a length of its own (default 0); null gives the whole one length. */
  dim?: number | null | undefined;
}

// Named as PyTorch prints them.
class _WeightNorm extends Module<[Tensor, Tensor], Tensor> {
  readonly dim: number;

  constructor(dim: number) {
    super();
    this.dim = dim;
  }
  forward(length: Tensor, direction: Tensor): Tensor {
    return withLength(direction, length, this.dim);
  }
  rightInverse(weight: Tensor): [Tensor, Tensor] {
    return [normExceptDim(weight, 2, this.dim), weight];
  }
}

/**
 * Learns a weight as a direction and a length (https://arxiv.org/abs/1602.07868): `original0` is the length, `original1` the
 * direction. Returns the module.
 * @example
 * const layer = nn.utils.parametrizations.weightNorm(new nn.Linear(20, 40));
 */
export function weightNorm<M extends AnyModule>(module: M, options: WeightNormOptions = {}): M {
  checkOptions(options, ["name", "dim"], "weightNorm(new nn.Linear(20, 40), { dim: 0 })");
  const { name = "weight", dim = 0 } = options;
  return registerParametrization(module, name, new _WeightNorm(dim === null ? -1 : checkNumber("dim", dim)), {
    unsafe: true,
  });
}

/** Options of `spectralNorm`. */
export interface SpectralNormOptions {
  /** Which parameter (default `"weight"`). */
  name?: string | undefined;
  /** Steps of the power method at each use in training (default 1). */
  nPowerIterations?: number | undefined;
  /** Added where vectors are normalized (default 1e-12). */
  eps?: number | undefined;
  /** The dimension of the outputs (default 0; 1 for transposed convolutions). */
  dim?: number | null | undefined;
}

class _SpectralNorm extends Module<[Tensor], Tensor> {
  readonly dim: number;
  readonly nPowerIterations: number;
  readonly eps: number;
  declare _u: Tensor;
  declare _v: Tensor;

  constructor(weight: Tensor, nPowerIterations: number, dim: number, eps: number) {
    super();
    if (dim >= weight.ndim || dim < -weight.ndim) {
      throw new ConfigurationError(`\`dim\` is ${dim}, but the weight has ${weight.ndim} dimensions.`);
    }
    this.dim = dim < 0 ? dim + weight.ndim : dim;
    this.nPowerIterations = nPowerIterations;
    this.eps = eps;
    if (weight.ndim < 2) return;
    noGrad(() => {
      const matrix = this.matrixOf(weight);
      const [rows, columns] = matrix.shape as [number, number];
      const random = (size: number): Tensor => normalize(matrix.newEmpty([size]).normal_(0, 1), { dim: 0, eps });
      this.registerBuffer("_u", random(rows));
      this.registerBuffer("_v", random(columns));
      this.iterate(matrix, 15);
    });
  }

  forward(weight: Tensor): Tensor {
    if (weight.ndim === 1) return normalize(weight, { dim: 0, eps: this.eps });
    const matrix = this.matrixOf(weight);
    if (this.training) this.iterate(matrix, this.nPowerIterations);
    // Copies: the vectors change in place with the next use, before the backward pass perhaps.
    const [u, v] = [this._u.clone(), this._v.clone()];
    return weight.div(u.dot(matrix.mv(v)));
  }

  rightInverse(value: Tensor): Tensor {
    return value;
  }

  /** internal: the weight as a matrix with the outputs as rows. */
  protected matrixOf(weight: Tensor): Tensor {
    const dims = [...weight.shape.keys()].filter((d) => d !== this.dim);
    return (this.dim === 0 ? weight : weight.permute([this.dim, ...dims])).flatten(1);
  }

  /** internal: brings the vectors closer to those of the greatest singular value. */
  protected iterate(matrix: Tensor, steps: number): void {
    noGrad(() => {
      for (let step = 0; step < steps; step++) {
        this._u.copy_(normalize(matrix.mv(this._v), { dim: 0, eps: this.eps }));
        this._v.copy_(normalize(matrix.t().mv(this._u), { dim: 0, eps: this.eps }));
      }
    });
  }
}

/**
 * Divides a weight by its greatest singular value (https://arxiv.org/abs/1802.05957), which a power method follows from step
 * to step in training. Returns the module.
 */
export function spectralNorm<M extends AnyModule>(module: M, options: SpectralNormOptions = {}): M {
  const example = "spectralNorm(new nn.Linear(20, 40), { nPowerIterations: 1 })";
  checkOptions(options, ["name", "nPowerIterations", "eps", "dim"], example);
  const { name = "weight", nPowerIterations = 1, eps = 1e-12 } = options;
  const weight = (module as unknown as Record<string, unknown>)[name];
  if (!(weight instanceof Tensor)) {
    throw new ConfigurationError(`${module.constructor.name} has no parameter or buffer \`${name}\`.`);
  }
  const layer: unknown = module;
  const transposed =
    layer instanceof ConvTranspose1d || layer instanceof ConvTranspose2d || layer instanceof ConvTranspose3d;
  const dim = options.dim ?? (transposed ? 1 : 0);
  const made = new _SpectralNorm(weight, checkSize("nPowerIterations", nPowerIterations, 1, example), dim, eps);
  return registerParametrization(module, name, made);
}
