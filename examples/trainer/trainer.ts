// A trainer of one's own on top of Fabric: what a training loop needs over and over again, to copy and to change. Fabric takes care of
// devices, processes, precision and files; the loop is all here.
import { join } from "node:path";
import {
  type AnyDataLoader,
  type Fabric,
  type FabricDataLoader,
  type FabricModule,
  ModelCheckpoint,
} from "@fabric-ts/fabric";
import { nn, noGrad, type optim, stack, type Tensor } from "@fabric-ts/torch";

/** What the trainer needs of a model. */
export interface Trainable<B> extends nn.AnyModule {
  /** The loss of a batch. */
  trainingStep(batch: B, batchIdx: number): Tensor;
  /** Numbers that say how good the model is on a batch. */
  validationStep(batch: B, batchIdx: number): Record<string, Tensor>;
  configureOptimizers(): optim.Optimizer;
}

/** What a trainer may be told. */
export interface TrainerOptions {
  /** Where checkpoints are; training goes on from the latest. */
  checkpointDir: string;
  /** Save after every n-th epoch. */
  checkpointFrequency: number;
  /** Validate after every n-th epoch. */
  validationFrequency: number;
  maxEpochs: number;
  /** Optimizer steps. */
  maxSteps: number;
  /** Batches that make one optimizer step. */
  accumulateBatches: number;
  /** At most this many batches in an epoch, to try things out. */
  limitTrainBatches: number;
  /** The same in a validation. */
  limitValidationBatches: number;
}

const defaults: TrainerOptions = {
  checkpointDir: "checkpoints",
  checkpointFrequency: 1,
  validationFrequency: 1,
  maxEpochs: 1000,
  maxSteps: Number.POSITIVE_INFINITY,
  accumulateBatches: 1,
  limitTrainBatches: Number.POSITIVE_INFINITY,
  limitValidationBatches: Number.POSITIVE_INFINITY,
};

/** Trains models: `await new Trainer(fabric, { maxEpochs: 3 }).fit(model, trainLoader, validationLoader)`. */
export class Trainer {
  readonly fabric: Fabric;
  readonly #options: TrainerOptions;
  /** Epochs and optimizer steps that are done. */
  epoch = 0;
  step = 0;
  /** Set it, from a callback for example, to end training after the current step. */
  shouldStop = false;
  /** What the last validation gave. */
  metrics: Record<string, number> = {};

  /** @param fabric launched already */
  constructor(fabric: Fabric, options: Partial<TrainerOptions> = {}) {
    this.fabric = fabric;
    this.#options = { ...defaults, ...options };
  }

  /** Trains until an epoch or step limit, or until somebody says to stop. */
  async fit<B>(module: Trainable<B>, train: AnyDataLoader<B>, validation?: AnyDataLoader<B>): Promise<void> {
    const { fabric } = this;
    const { maxEpochs, checkpointDir, checkpointFrequency, validationFrequency } = this.#options;
    const [model, optimizer] = fabric.setup(module, module.configureOptimizers());
    const trainLoader = fabric.setupDataLoaders(train);
    const validationLoader = validation && fabric.setupDataLoaders(validation);

    // The trainer is part of the state by its `stateDict` and `loadStateDict`, and so are callbacks that remember something.
    const stateful = fabric.callbacks.filter((callback) => "stateDict" in callback && !(callback instanceof nn.Module));
    const callbacks = Object.fromEntries(stateful.map((callback) => [callback.constructor.name, callback]));
    const state = { model, optimizer, trainer: this, ...callbacks };
    const latest = await ModelCheckpoint.latest(checkpointDir, { fabric });
    if (latest !== null) {
      await fabric.load(latest, state);
      fabric.print(`goes on from ${latest}`);
    }

    await fabric.call("onTrainStart", { fabric, epochs: maxEpochs });
    while (!this.#isDone()) {
      await this.#trainEpoch(model, optimizer, trainLoader);
      const isValidated = validationLoader && (this.epoch + 1) % validationFrequency === 0;
      if (isValidated) await this.#validate(model, validationLoader);
      await fabric.call("onTrainEpochEnd", { fabric, epoch: this.epoch, metrics: this.metrics });
      this.epoch++;
      if (this.epoch % checkpointFrequency === 0) {
        await fabric.save(join(checkpointDir, `epoch-${String(this.epoch).padStart(4, "0")}.ckpt`), state);
      }
    }
    await fabric.call("onTrainEnd", { fabric });
  }

  async #trainEpoch<B>(
    model: FabricModule<Trainable<B>>,
    optimizer: optim.Optimizer,
    loader: FabricDataLoader<AnyDataLoader<B>>,
  ): Promise<void> {
    const { fabric, epoch } = this;
    const { accumulateBatches, limitTrainBatches } = this.#options;
    const batches = Math.min(loader.length, limitTrainBatches);
    await fabric.call("onTrainEpochStart", { fabric, epoch, batches });
    loader.setEpoch(epoch);
    let batchIdx = 0;
    for await (const batch of loader) {
      if (batchIdx === batches || this.#isDone()) break;
      const inStep = batchIdx % accumulateBatches;
      // The last step of an epoch may have fewer batches.
      const size = Math.min(accumulateBatches, batches - batchIdx + inStep);
      const isAccumulating = inStep + 1 < size;
      const loss = fabric.noBackwardSync(model, { enabled: isAccumulating }, () => {
        const loss = model.trainingStep(batch, batchIdx);
        fabric.backward(loss.div(size));
        return loss;
      });
      if (!isAccumulating) {
        await fabric.call("onBeforeOptimizerStep", { fabric, model, optimizer, loss, step: this.step });
        optimizer.step();
        optimizer.zeroGrad();
        this.step++;
      }
      await fabric.call("onTrainBatchEnd", { fabric, epoch, batchIdx, loss, step: this.step });
      batchIdx++;
    }
  }

  async #validate<B>(model: FabricModule<Trainable<B>>, loader: FabricDataLoader<AnyDataLoader<B>>): Promise<void> {
    const { fabric, epoch, step } = this;
    const found: Record<string, Tensor>[] = [];
    model.eval();
    for await (const batch of loader) {
      if (found.length === this.#options.limitValidationBatches) break;
      found.push(noGrad(() => model.validationStep(batch, found.length)));
    }
    model.train();
    // Means over the batches, then over the processes.
    for (const name of Object.keys(found[0] ?? {})) {
      const mean = stack(found.map((metrics) => metrics[name] as Tensor)).mean();
      this.metrics[name] = (await fabric.allReduce(mean)).item();
    }
    await fabric.call("onValidationEnd", { fabric, epoch, step, metrics: this.metrics });
  }

  #isDone(): boolean {
    const { maxEpochs, maxSteps } = this.#options;
    const saysStop = (callback: object) => (callback as { shouldStop?: boolean }).shouldStop === true;
    this.shouldStop ||= this.fabric.callbacks.some(saysStop);
    return this.shouldStop || this.epoch >= maxEpochs || this.step >= maxSteps;
  }

  stateDict(): { epoch: number; step: number } {
    return { epoch: this.epoch, step: this.step };
  }
  loadStateDict(state: { epoch: number; step: number }): void {
    this.epoch = state.epoch;
    this.step = state.step;
  }
}
