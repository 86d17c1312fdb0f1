// Telling what Fabric has wrapped, and taking the wrapping off.
import { applyToCollection } from "../utilities/apply-to-collection.js";
import { FabricDataLoader } from "./dataloader.js";
import { FabricModule, partsOf } from "./module.js";
import { FabricOptimizer } from "./optimizer.js";

/** True for models, optimizers and data loaders that went through `fabric.setup` or `fabric.setupDataLoaders`. */
export function isWrapped(value: unknown): value is FabricModule | FabricOptimizer | FabricDataLoader {
  return value instanceof FabricModule || value instanceof FabricOptimizer || value instanceof FabricDataLoader;
}

/**
 * internal: replaces everything wrapped in a nested collection by what is inside: for a model the module that the strategy calls, which
 * is not the user's own under DDP.
 */
export function unwrapObjects<T>(collection: T): T {
  return applyToCollection(collection, isWrapped, unwrap) as T;
}

/**
 * internal: the same for what is saved and restored. Data loaders stay as they are: their wrapping counts the epochs, which belong to
 * their state.
 */
export function unwrapState<T>(state: T): T {
  const hasInside = (value: unknown): boolean => isWrapped(value) && !(value instanceof FabricDataLoader);
  return applyToCollection(state, hasInside, unwrap) as T;
}

function unwrap(value: unknown): unknown {
  if (value instanceof FabricModule) return partsOf(value).forwardModule;
  if (value instanceof FabricOptimizer) return value.optimizer;
  if (value instanceof FabricDataLoader) return value.loader;
  return value;
}
