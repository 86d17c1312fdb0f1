// Telling what Fabric has wrapped, and taking the wrapping off.
import { OptimizedModule } from "@fabric-ts/torch";
import { applyToCollection } from "../utilities/apply-to-collection.js";
import { withoutCompiled } from "./compiled.js";
import { FabricDataLoader } from "./dataloader.js";
import { FabricModule, partsOf } from "./module.js";
import { FabricOptimizer } from "./optimizer.js";

/**
 * True for models, optimizers and data loaders that went through `fabric.setup` or `fabric.setupDataLoaders`, also when
 * `torch.compile` was called on the result.
 */
export function isWrapped(value: unknown): value is FabricModule | FabricOptimizer | FabricDataLoader {
  return (
    withoutCompiled(value) instanceof FabricModule ||
    value instanceof FabricOptimizer ||
    value instanceof FabricDataLoader
  );
}

/**
 * Replaces everything wrapped in a nested collection by what is inside: for a model the module that the strategy calls, which is not the
 * user's own under DDP (that one is `model.module`). What `torch.compile` put around either is
 * taken off.
 */
export function unwrapObjects<T>(collection: T): T {
  return applyToCollection(collection, (value) => isWrapped(value) || value instanceof OptimizedModule, unwrap) as T;
}

/**
 * internal: the same for what is saved and restored. Data loaders stay as they are: their wrapping counts the epochs, which belong to
 * their state.
 */
export function unwrapState<T>(state: T): T {
  const hasInside = (value: unknown): boolean =>
    value instanceof OptimizedModule || (isWrapped(value) && !(value instanceof FabricDataLoader));
  return applyToCollection(state, hasInside, unwrap) as T;
}

function unwrap(outer: unknown): unknown {
  const value = withoutCompiled(outer);
  if (value instanceof FabricModule) return withoutCompiled(partsOf(value).forwardModule);
  if (value instanceof FabricOptimizer) return value.optimizer;
  if (value instanceof FabricDataLoader) return value.loader;
  return value;
}
