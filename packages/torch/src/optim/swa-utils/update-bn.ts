// Running statistics of batch normalizations, computed anew: after averaging weights they are those of no model.
import { noGrad } from "../../autograd/grad-mode.js";
import type { Device } from "../../dtype.js";
import { BatchNorm } from "../../nn/layers/batch-norm.js";
import type { AnyModule } from "../../nn/module.js";
import { Tensor } from "../../tensor.js";

/**
 * Runs the model over a loader once, in training mode and without gradients, so that every batch normalization has the mean
 * statistics of all batches. Of batches that are lists the first entry is the input.
 */
export function updateBn(loader: Iterable<unknown>, model: AnyModule, device?: Device): void {
  const norms = model
    .modules()
    .filter((module): module is AnyModule & BatchNorm => (module as unknown) instanceof BatchNorm);
  const tracked = norms.filter((norm) => norm.runningMean !== null);
  if (tracked.length === 0) return;
  const momenta = tracked.map((norm) => norm.momentum);
  const { training } = model;
  const setMomentum = (norm: BatchNorm, momentum: number | null): void => {
    (norm as { momentum: number | null }).momentum = momentum;
  };
  for (const norm of tracked) {
    norm.resetRunningStats();
    // The mean over all batches.
    setMomentum(norm, null);
  }
  model.train();
  try {
    noGrad(() => {
      for (const batch of loader) {
        const input = Array.isArray(batch) ? (batch[0] as unknown) : batch;
        model(device !== undefined && input instanceof Tensor ? input.to(device) : input);
      }
    });
  } finally {
    tracked.forEach((norm, i) => {
      setMomentum(norm, momenta[i] ?? null);
    });
    model.train(training);
  }
}
