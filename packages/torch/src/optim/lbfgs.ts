// L-BFGS. The formulas and their order of operations are PyTorch's, so results have the same bits.

import { ConfigurationError, UsageError } from "../errors.js";
import { unscoped } from "../memory.js";
import { checkNumber, checkOptions, checkSize } from "../nn/arguments.js";
import { cat } from "../ops.generated.js";
import type { Tensor } from "../tensor.js";
import { type ImplementationOptions, implementationNames, Optimizer, withDefaults } from "./optimizer.js";
import type { ParamGroup, ParamsInput } from "./param-group.js";
import { isSparse } from "./sparse.js";
import { strongWolfe } from "./strong-wolfe.js";
import { div, isAtMost, isGreater, least, mul, numberOf, type Scalar, sub } from "./tensor-scalar.js";

/** Options of `LBFGS`. */
export interface LBFGSOptions extends ImplementationOptions {
  /** Learning rate: the first step tried of each line (default 1). */
  lr: number;
  /** Most iterations of one `step` (default 20). */
  maxIter: number;
  /** Most evaluations of the closure in one `step` (default 1.25 times `maxIter`). */
  maxEval: number | null;
  /** Ends the step when no element of the gradient is greater (default 1e-7). */
  toleranceGrad: number;
  /** Ends the step when loss or parameters change by less (default 1e-9). */
  toleranceChange: number;
  /** How many past directions are remembered (default 100). */
  historySize: number;
  /** Searches along each direction, or goes a fixed way (default null). */
  lineSearchFn: "strong_wolfe" | null;
}

const optionNames = ["lr", "maxIter", "maxEval", "toleranceGrad", "toleranceChange", "historySize", "lineSearchFn"];
const example = 'new LBFGS(model.parameters(), { lineSearchFn: "strong_wolfe" })';

/** What is remembered between steps, under PyTorch's names. */
interface History {
  func_evals: number;
  n_iter: number;
  d?: Tensor;
  t?: Scalar;
  old_dirs?: Tensor[];
  old_stps?: Tensor[];
  ro?: Tensor[];
  H_diag?: Scalar;
  prev_flat_grad?: Tensor | null;
  prev_loss?: number;
  al?: (Tensor | null)[];
}

/**
 * The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno, as `torch.optim.LBFGS`. It evaluates the loss
 * several times a step, so it needs a closure that computes it and its gradients.
 * @example
 * optimizer.step(() => {
 *   optimizer.zeroGrad();
 *   const loss = nn.functional.mseLoss(model(x), y);
 *   loss.backward();
 *   return loss;
 * });
 */
export class LBFGS extends Optimizer {
  declare paramGroups: (ParamGroup & LBFGSOptions)[];

  /** @param options see `LBFGSOptions`; all have defaults. There can be one parameter group only */
  constructor(params: ParamsInput<LBFGSOptions>, options: Partial<LBFGSOptions> = {}) {
    checkOptions(options, [...optionNames, ...implementationNames], example);
    const maxIter = checkSize("maxIter", options.maxIter ?? 20, 1, example);
    super(
      params,
      withDefaults(
        { ...options, maxEval: options.maxEval ?? Math.floor((maxIter * 5) / 4) },
        {
          lr: 1,
          maxIter: 20,
          maxEval: null,
          toleranceGrad: 1e-7,
          toleranceChange: 1e-9,
          historySize: 100,
          lineSearchFn: null,
        },
      ),
    );
    if (this.paramGroups.length !== 1) throw new ConfigurationError("LBFGS takes one parameter group only.");
  }

  protected override checkGroup(group: ParamGroup): void {
    for (const name of ["maxIter", "maxEval", "historySize"]) checkSize(name, group[name], 1, example);
    for (const name of ["lr", "toleranceGrad", "toleranceChange"]) checkNumber(name, group[name], 0);
    if (group.lineSearchFn !== null && group.lineSearchFn !== "strong_wolfe") {
      throw new ConfigurationError(`\`lineSearchFn\` is ${JSON.stringify(group.lineSearchFn)}.`, {
        hint: 'There is "strong_wolfe", and null for steps of a fixed length.',
      });
    }
  }

  // The history is kept under the first parameter, as PyTorch keeps it.
  #history(): History {
    const record = this.stateOf(this.#params[0] as Tensor);
    record.func_evals ??= 0;
    record.n_iter ??= 0;
    return record as unknown as History;
  }
  get #params(): readonly Tensor[] {
    return this.paramGroups[0]?.params ?? [];
  }

  protected override updateGroup(): void {}

  protected override advance<T>(closure?: () => T): T | undefined {
    if (closure === undefined) {
      throw new UsageError("LBFGS evaluates the loss several times a step: `step` needs a closure.", {
        hint: "Type `optimizer.step(() => { optimizer.zeroGrad(); const loss = ...; loss.backward(); return loss; })`.",
      });
    }
    const first = this.evaluate(closure);
    return unscoped(() => {
      this.#minimize(lossOf(first), () => lossOf(this.evaluate(closure)));
      return first;
    });
  }

  #minimize(firstLoss: number, evaluate: () => number): void {
    const group = this.paramGroups[0] as ParamGroup & LBFGSOptions;
    const { lr, maxIter, toleranceGrad, toleranceChange, lineSearchFn } = group;
    const maxEval = group.maxEval as number;
    const history = this.#history();
    const isFlat = (gradient: Tensor): boolean => isAtMost(gradient.abs().max(), toleranceGrad);
    let loss = firstLoss;
    let gradient = this.#flatGradient();
    let evaluations = 1;
    history.func_evals++;
    if (isFlat(gradient)) return;

    for (let iteration = 1; iteration <= maxIter; iteration++) {
      history.n_iter++;
      const d = this.#direction(history, gradient, group.historySize);
      history.d = d;
      if (history.prev_flat_grad) history.prev_flat_grad.copy_(gradient);
      else history.prev_flat_grad = gradient.clone();
      history.prev_loss = loss;

      // The first line is tried with a step that moves no further than about one in all.
      let t: Scalar = history.n_iter === 1 ? mul(least(1, gradient.abs().sum().reciprocal()), lr) : lr;
      history.t = t;
      const slope = gradient.dot(d);
      if (isGreater(slope, -toleranceChange)) return;

      let tried = 0;
      let flat = false;
      if (lineSearchFn !== null) {
        const before = this.#params.map((param) => param.clone());
        const along = (step: Scalar): { f: number; g: Tensor } => {
          this.#move(step, d);
          const f = evaluate();
          const g = this.#flatGradient();
          this.#params.forEach((param, i) => {
            param.copy_(before[i] as Tensor);
          });
          return { f, g };
        };
        const found = strongWolfe(along, t, d, { f: loss, g: gradient, slope });
        loss = found.f;
        gradient = found.g;
        t = found.t;
        history.t = t;
        tried = found.evaluations;
        this.#move(t, d);
        flat = isFlat(gradient);
      } else {
        this.#move(t, d);
        if (iteration !== maxIter) {
          loss = evaluate();
          gradient = this.#flatGradient();
          flat = isFlat(gradient);
          tried = 1;
        }
      }
      evaluations += tried;
      history.func_evals += tried;
      if (iteration === maxIter || evaluations >= maxEval || flat) return;
      if (
        isAtMost(
          d
            .mul(t as Tensor)
            .abs()
            .max(),
          toleranceChange,
        )
      )
        return;
      if (Math.abs(loss - history.prev_loss) < toleranceChange) return;
    }
  }

  // Minus the gradient, multiplied by what the last steps tell of the inverse second derivatives.
  #direction(history: History, gradient: Tensor, historySize: number): Tensor {
    if (history.n_iter === 1) {
      Object.assign(history, { old_dirs: [], old_stps: [], ro: [], H_diag: 1 });
      return gradient.neg();
    }
    const { old_dirs = [], old_stps = [], ro = [] } = history;
    const y = gradient.sub(history.prev_flat_grad as Tensor);
    const s = (history.d as Tensor).mul(history.t as Tensor);
    const ys = y.dot(s);
    if (isGreater(ys, 1e-10)) {
      if (old_dirs.length === historySize) for (const list of [old_dirs, old_stps, ro]) list.shift();
      old_dirs.push(y);
      old_stps.push(s);
      ro.push(ys.reciprocal());
      history.H_diag = div(ys, y.dot(y));
    }
    history.al ??= new Array<Tensor | null>(historySize).fill(null);
    const { al } = history;
    const q = gradient.neg();
    for (let i = old_dirs.length - 1; i >= 0; i--) {
      const weight = (old_stps[i] as Tensor).dot(q).mul(ro[i] as Tensor);
      al[i] = weight;
      q.add_(old_dirs[i] as Tensor, { alpha: -weight.item() });
    }
    const d = q.mul(history.H_diag as Tensor);
    for (let i = 0; i < old_dirs.length; i++) {
      const back = (old_dirs[i] as Tensor).dot(d).mul(ro[i] as Tensor);
      d.add_(old_stps[i] as Tensor, { alpha: numberOf(sub(al[i] as Tensor, back)) });
    }
    return d;
  }

  #flatGradient(): Tensor {
    return cat(
      this.#params.map((param) => {
        const { grad } = param;
        if (grad === null) return param.newZeros([param.numel()]);
        return (isSparse(grad) ? grad.toDense() : grad).reshape([-1]);
      }),
    );
  }

  #move(t: Scalar, d: Tensor): void {
    let offset = 0;
    for (const param of this.#params) {
      const count = param.numel();
      param.add_(d.narrow(0, offset, count).viewAs(param), { alpha: numberOf(t) });
      offset += count;
    }
  }
}

function lossOf(loss: unknown): number {
  const value = typeof loss === "number" ? loss : Number((loss as Tensor | null)?.item?.());
  if (!Number.isNaN(value) || typeof loss === "number" || (loss as Tensor | null)?.item) return value;
  throw new UsageError("The closure given to LBFGS did not return the loss.", { hint: "End it with `return loss;`." });
}
