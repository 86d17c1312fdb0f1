// How many batches make one optimizer step, by epoch.
import { ConfigurationError } from "@fabric-ts/torch";
import { isPlainObject } from "../utilities/apply-to-collection.js";
import { describe } from "../utilities/describe.js";
import { countIn, factsOf, isCount } from "./facts.js";
import type { EpochFacts } from "./hooks.js";

/**
 * Tells the loop how many batches make one optimizer step, from which epoch on. Between the steps `fabric.noBackwardSync` keeps gradients
 * local.
 *
 *     // 8 batches a step at first, 4 from epoch 5 on (epochs count from 0)
 *     const accumulation = new GradientAccumulationScheduler({ 0: 8, 5: 4 });
 *     for (let epoch = 0; epoch < epochs; epoch++) {
 *       await fabric.call("onTrainEpochStart", { epoch });
 *       let batchIdx = 0;
 *       for (const [x, y] of loader) {
 *         const isAccumulating = accumulation.isAccumulating(batchIdx, loader.length);
 *         fabric.noBackwardSync(model, { enabled: isAccumulating }, () => {
 *           const loss = nn.functional.crossEntropy(model(x), y);
 *           fabric.backward(loss.div(accumulation.batchesInStep(batchIdx, loader.length)));
 *         });
 *         if (!isAccumulating) {
 *           optimizer.step();
 *           optimizer.zeroGrad();
 *         }
 *         batchIdx++;
 *       }
 *     }
 */
export class GradientAccumulationScheduler {
  /** The factors by the epoch from which they hold, in order; there is always one for epoch 0. */
  readonly scheduling: ReadonlyMap<number, number>;
  #epoch = 0;

  /**
   * @param scheduling the number of batches in a step, by the epoch from which it holds; before the first it is 1
   * @throws TypeError, ConfigurationError for epochs below 0 and factors below 1
   */
  constructor(scheduling: Readonly<Record<number, number>> | ReadonlyMap<number, number>) {
    const entries =
      scheduling instanceof Map ? [...scheduling] : isPlainObject(scheduling) ? Object.entries(scheduling) : [];
    if (entries.length === 0) {
      throw new TypeError(
        `Expected a schedule with at least one epoch, but got ${describe(scheduling)}.\nType \`new GradientAccumulationScheduler({ 0: 8, 5: 4 })\`: 8 batches a step, 4 from epoch 5 on.`,
      );
    }
    const factors = new Map<number, number>([[0, 1]]);
    for (const [key, factor] of entries) {
      const epoch = typeof key === "string" && key.trim() === "" ? Number.NaN : Number(key);
      if (!isCount(epoch)) {
        throw new ConfigurationError(`Epoch should be a whole number from 0. Got: ${describe(key)}.`, {
          hint: "The keys of the schedule are the epochs from which the factors hold.",
        });
      }
      if (!isCount(factor) || factor === 0) {
        throw new ConfigurationError(
          `Accumulation factor should be a whole number above 0. Got: ${describe(factor)}.`,
          {
            hint: "The values of the schedule are numbers of batches in a step.",
          },
        );
      }
      factors.set(epoch, factor);
    }
    this.scheduling = new Map([...factors].sort(([a], [b]) => a - b));
  }

  /** The number of batches in a step in an epoch (default: the one that `onTrainEpochStart` was last called with). */
  accumulateGradBatches(epoch: number = this.#epoch): number {
    let current = 1;
    for (const [from, factor] of this.scheduling) if (from <= epoch) current = factor;
    return current;
  }
  /** True when the schedule ever asks for more than one batch in a step. */
  goingToAccumulateGradBatches(): boolean {
    return [...this.scheduling.values()].some((factor) => factor > 1);
  }

  /** True when no optimizer step follows the batch. With `batches`, the length of the epoch, its last batch is always followed by one. */
  isAccumulating(batchIdx: number, batches?: number): boolean {
    return batchIdx + 1 !== batches && (batchIdx + 1) % this.accumulateGradBatches() !== 0;
  }
  /** How many batches the step has that the batch belongs to: what its loss is divided by. The last step of an epoch may have fewer. */
  batchesInStep(batchIdx: number, batches: number = Number.POSITIVE_INFINITY): number {
    const factor = this.accumulateGradBatches();
    const first = batchIdx - (batchIdx % factor);
    return Math.min(factor, Math.max(1, batches - first));
  }

  onTrainEpochStart(facts: EpochFacts): void {
    const hook = "onTrainEpochStart";
    const owner = "GradientAccumulationScheduler";
    this.#epoch = countIn(owner, hook, factsOf(owner, hook, facts), "epoch");
  }
}
