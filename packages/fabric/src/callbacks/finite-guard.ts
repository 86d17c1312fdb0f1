// Notices a step whose gradients are not finite before it spoils the weights.
import * as torch from "@fabric-ts/torch";
import { ConfigurationError, FabricError, nn, noGrad, type optim, Tensor } from "@fabric-ts/torch";
import { checkOptions, describe } from "../utilities/describe.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import { FabricModule } from "../wrappers/module.js";
import { factsOf } from "./facts.js";
import type { BatchFacts, SetupFacts } from "./hooks.js";

/** The gradients of a step are not finite. */
export class NonFiniteError extends FabricError {
  constructor(message: string, hint: string) {
    super(message, { code: "ERR_NON_FINITE", hint });
  }
}

/** Options of `FiniteGuard`. */
export interface FiniteGuardOptions {
  /**
   * What happens to a step whose gradients are not finite: an error (`"error"`, the default), no step and `shouldStop` is set (`"stop"`),
   * or no step and a warning (`"skip"`).
   */
  action?: "error" | "stop" | "skip" | undefined;
}

/**
 * Looks at the gradients before each step and finds NaN and infinity in them. Under DDP gradients are averaged, so a bad value of one rank is
 * in those of all, and all ranks find it in the same step without another message. To leave a step out the guard drops the gradients: the
 * optimizer changes nothing then.
 *
 *     const fabric = new Fabric({ callbacks: [new FiniteGuard({ action: "skip" })] });
 *     // ... in the loop, between the last backward of a step and clipping
 *     fabric.backward(loss);
 *     await fabric.call("onBeforeOptimizerStep", { model, optimizer, loss, step });
 *     optimizer.step();
 *
 * With `16-mixed` it stays out of the way: the loss scaler looks for infinite gradients itself and needs them.
 */
export class FiniteGuard {
  /** How many steps were left out so far. */
  skipped = 0;
  /** With `action: "stop"`: true from the first bad step on. */
  shouldStop = false;
  /** What was found last, in a sentence; null before. */
  reason: string | null = null;
  readonly #action: "error" | "stop" | "skip";
  #scales = false;

  /** @throws TypeError for unknown options, ConfigurationError for another action */
  constructor(options: FiniteGuardOptions = {}) {
    checkOptions("FiniteGuard", options, ["action"]);
    const { action = "error" } = options;
    if (action !== "error" && action !== "stop" && action !== "skip") {
      throw new ConfigurationError(`\`action\` of FiniteGuard is ${describe(action)}.`, {
        hint: 'Choose "error", "stop" or "skip".',
      });
    }
    this.#action = action;
  }

  onAfterSetup({ fabric }: SetupFacts): void {
    this.#scales = hasScaler(fabric.strategy.precision);
  }
  onBeforeOptimizerStep(given: BatchFacts): void {
    const facts = factsOf("FiniteGuard", "onBeforeOptimizerStep", given);
    const { model, optimizer, loss, step, fabric } = facts;
    if (!(model instanceof nn.Module)) {
      throw new TypeError(
        `Expected \`FiniteGuard.onBeforeOptimizerStep\` to be given the \`model\`, but got ${describe(model)}.\nType \`await fabric.call("onBeforeOptimizerStep", { model, optimizer, loss })\`.`,
      );
    }
    if (fabric !== undefined) this.#scales = hasScaler(fabric.strategy.precision);
    this.check(model as nn.AnyModule, { optimizer, loss, step });
  }

  /**
   * Checks without hooks: true when all gradients of the model, or of the parameters that the optimizer has, are finite. Otherwise it does what
   * `action` says. `loss` and `step` are mentioned.
   */
  check(
    model: nn.AnyModule,
    about: { optimizer?: optim.Optimizer | undefined; loss?: unknown; step?: unknown } = {},
  ): boolean {
    if (this.#scales) return true;
    const { optimizer, ...place } = about;
    const names = namesOf(model);
    const parameters = optimizer ? optimizer.paramGroups.flatMap((group) => group.params) : [...names.keys()];
    const bad = noGrad(() => nonFinite(parameters));
    const [first] = bad;
    if (first === undefined) return true;
    const others = bad.length === 1 ? "" : `; ${bad.length} of ${parameters.length} parameters are affected`;
    const name = names.get(first) ?? "a parameter that is not the model's";
    const reason = `The gradient of \`${name}\` has ${hasNaN(first) ? "NaN" : "infinite"} elements${placeOf(place)}${others}.`;
    this.reason = reason;
    if (this.#action === "error") {
      throw new NonFiniteError(
        reason,
        'Look for a learning rate that is too high, the logarithm or root of 0, or NaN in a batch; `autograd.detectAnomaly` names the operation. `new FiniteGuard({ action: "skip" })` leaves such steps out.',
      );
    }
    this.skipped++;
    if (this.#action === "stop") this.shouldStop = true;
    else rankZeroWarn(`${reason} The step is left out (number ${this.skipped} so far).`);
    for (const parameter of parameters) parameter.grad = null;
    return false;
  }
}

function hasScaler(precision: object): boolean {
  return (precision as { scaler?: unknown }).scaler != null;
}

/** The model's parameters with the names that its author gave them. */
function namesOf(model: nn.AnyModule): Map<Tensor, string> {
  const own = model instanceof FabricModule ? (model.module as nn.AnyModule) : model;
  return new Map([...own.namedParameters()].map(([name, parameter]) => [parameter, name]));
}

/** The parameters whose gradients have NaN or infinite elements. */
function nonFinite(parameters: readonly Tensor[]): Tensor[] {
  const withGrad = parameters.filter((parameter) => parameter.grad !== null);
  const norms = withGrad.map(({ grad }) => (grad as Tensor).norm().float());
  const [first] = norms;
  if (first === undefined) return [];
  // One number to wait for, as long as all is well.
  const total = torch.stack(norms.map((norm) => norm.to(first.device))).sum();
  if (Number.isFinite(total.item())) return [];
  // A norm may overflow where each element is finite.
  return withGrad.filter(({ grad }) => !(grad as Tensor).toDense().isfinite().all().item());
}

function hasNaN({ grad }: Tensor): boolean {
  return (grad as Tensor).toDense().isnan().any().item() as unknown as boolean;
}

function placeOf({ loss, step }: { loss?: unknown; step?: unknown }): string {
  const value = loss instanceof Tensor ? (loss.numel() === 1 ? loss.item() : undefined) : loss;
  const parts = [
    ...(typeof step === "number" ? [`after step ${step}`] : []),
    ...(typeof value === "number" ? [`with a loss of ${value}`] : []),
  ];
  return parts.length === 0 ? "" : ` ${parts.join(", ")}`;
}
