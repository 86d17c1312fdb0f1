// internal: checks of what `setup` and its siblings are given. Each text says which argument, and what to type.
import { ConfigurationError, data, nn, optim, UsageError } from "@fabric-ts/torch";
import { isPlainObject } from "../utilities/apply-to-collection.js";
import { checkOptions, className, describe } from "../utilities/describe.js";
import { hasMetaDeviceParametersOrBuffers } from "../utilities/materialize.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import type { AnyDataLoader } from "./dataloader.js";
import { FabricModule } from "./module.js";
import { isWrapped } from "./wrap.js";

/** internal: separates a last argument that is a plain object of options from those before it. */
export function splitOptions(
  method: string,
  args: readonly unknown[],
  known: readonly string[],
): { items: unknown[]; options: object } {
  const last = args.at(-1);
  if (args.length === 0 || (last !== undefined && !isPlainObject(last))) return { items: [...args], options: {} };
  const options = last === undefined ? {} : (last as object);
  checkOptions(method, options, known);
  return { items: args.slice(0, -1), options };
}

/** internal: it has to be a module that is not wrapped, and that has nothing wrapped inside. */
export function checkModule(method: string, module: unknown): asserts module is nn.AnyModule {
  if (module instanceof FabricModule) throw onlyOnce("A model", method);
  if (!(module instanceof nn.Module)) {
    const example = method === "setup" ? "setup(model, optimizer)" : `${method}(model)`;
    const hint =
      typeof module === "function" && module.prototype instanceof nn.Module
        ? `That is the class: type \`fabric.${method}(new ${module.name}())\`.`
        : `Type \`fabric.${example}\`.`;
    throw new TypeError(
      `Expected the first argument of \`${method}\` to be a Module, but got ${describe(module)}.\n${hint}`,
    );
  }
  for (const [name, inner] of module.namedModules()) {
    if (inner instanceof FabricModule) {
      throw new ConfigurationError(
        `A model should be passed only once to the \`${method}\` method, but \`${name}\` of this ${className(module)} went through it already.`,
        { hint: "Set up either the outer model or the one inside: put the inner one's `module` into the outer one." },
      );
    }
    if (inner instanceof nn.parallel.DistributedDataParallel) {
      throw new ConfigurationError(
        `${name === "" ? "The model" : `\`${name}\` of this ${className(module)}`} is wrapped in DistributedDataParallel already.`,
        { hint: `Pass the model itself: \`fabric.${method}\` wraps it as the strategy needs it.` },
      );
    }
  }
}

const wrappedOnce = new WeakSet<nn.AnyModule>();

/** internal: warns when a strategy wraps the same model a second time. */
export function warnOfSecondSetup(model: nn.AnyModule): void {
  if (wrappedOnce.has(model)) {
    rankZeroWarn(
      `This ${className(model)} was set up before. Each wrapper keeps gradient buffers of its own: set a model up once, and use what \`fabric.setup\` returned everywhere.`,
      "PossibleUserWarning",
    );
  }
  wrappedOnce.add(model);
}

/** internal: each has to be an optimizer that is not wrapped. */
export function checkOptimizers(method: string, items: readonly unknown[]): optim.Optimizer[] {
  for (const item of items) {
    if (isWrapped(item)) throw onlyOnce("An optimizer", method);
    if (item instanceof optim.Optimizer) continue;
    const hint =
      typeof (item as { step?: unknown } | null)?.step === "function" || className(item).endsWith("LR")
        ? "A scheduler goes by name: `fabric.setup(model, optimizer, { scheduler })`."
        : item instanceof nn.Module && method === "setup"
          ? "Each model is set up by a call of its own: `fabric.setup(generator, optimizer)`, `fabric.setup(critic, other)`."
          : Array.isArray(item)
            ? `Several go one after another, without an array: \`fabric.${method === "setup" ? "setup(model, first, second)" : `${method}(first, second)`}\`.`
            : `Type \`fabric.${method === "setup" ? "setup(model, optimizer)" : `${method}(optimizer)`}\`.`;
    throw new TypeError(
      `Expected the optimizers of \`${method}\` to be Optimizers, but got ${describe(item)}.\n${hint}`,
    );
  }
  return items as optim.Optimizer[];
}

/** internal: an optimizer in the place of the options. */
export function checkNoOptimizer(options: unknown): void {
  if (!(options instanceof optim.Optimizer)) return;
  throw new TypeError(
    "`setupModule` sets up a model alone, but got an optimizer, too.\nType `fabric.setup(model, optimizer)`, or `fabric.setupOptimizers(optimizer)` afterwards.",
  );
}

/** Options of `fabric.clipGradients`: one of the two limits. */
export interface ClipOptions {
  /** No element of a gradient is larger. */
  clipVal?: number | undefined;
  /** The norm of all gradients together is no larger. */
  maxNorm?: number | undefined;
  /** The p of the p-norm (default 2); `Infinity` is the greatest size. */
  normType?: number | undefined;
  /** Throws when the norm is not finite instead of scaling by it (default true). */
  errorIfNonfinite?: boolean | undefined;
}

/** internal: limits are numbers; a negative one would turn gradients around. */
export function checkLimits(options: ClipOptions): void {
  for (const name of ["clipVal", "maxNorm", "normType"] as const) {
    const value: unknown = options[name];
    const isKind = name === "normType";
    if (value === undefined || (typeof value === "number" && (isKind ? !Number.isNaN(value) : value >= 0))) continue;
    throw new TypeError(
      `Expected \`${name}\` to be a number${isKind ? "" : " from 0"}, but got ${describe(value)}.\nType \`fabric.clipGradients(model, optimizer, ${isKind ? "{ maxNorm: 1, normType: Infinity }" : `{ ${name}: 1 }`})\`.`,
    );
  }
}

/** internal: the gradients to clip are those of an optimizer's parameters. */
export function checkClipped(optimizer: unknown): void {
  if (optimizer instanceof optim.Optimizer) return;
  throw new TypeError(
    `Expected the second argument of \`clipGradients\` to be an Optimizer, but got ${describe(optimizer)}.\nType \`fabric.clipGradients(model, optimizer, { maxNorm: 1 })\`.`,
  );
}

/** internal: an optimizer of parameters without values would step nothing. */
export function checkNotMeta(optimizers: readonly optim.Optimizer[]): void {
  if (!optimizers.some((optimizer) => hasMetaDeviceParametersOrBuffers(optimizer))) return;
  throw new UsageError("The optimizer has references to the model's meta-device parameters.", {
    hint: "Make the optimizer last: give the model its values (`rawModel.toEmpty({ device })`, then `loadStateDict` or an initialization), `const model = fabric.setupModule(rawModel)`, an optimizer over `model.parameters()`, `fabric.setupOptimizers(optimizer)`.",
  });
}

/** internal: each has to be a data loader that is not wrapped, and there has to be one. */
export function checkDataLoaders(items: readonly unknown[]): AnyDataLoader[] {
  if (items.length === 0) throw new ConfigurationError("`setupDataLoaders` requires at least one dataloader as input.");
  for (const item of items) {
    if (isWrapped(item)) throw onlyOnce("A dataloader", "setupDataLoaders");
    if (!(item instanceof data.DataLoader)) {
      const hint =
        Array.isArray(item) && item.some((inner) => inner instanceof data.DataLoader || isWrapped(inner))
          ? "Several go one after another, without an array: `fabric.setupDataLoaders(first, second)`."
          : "Type `new data.DataLoader(dataset, { batchSize })`.";
      throw new TypeError(
        `Only DataLoaders are currently supported in \`setupDataLoaders\`, but got ${describe(item)}.\n${hint}`,
      );
    }
  }
  return items as AnyDataLoader[];
}

/** internal: warns when a model that is about to be moved has its parameters in several places. */
export function warnOfSeveralDevices(module: nn.AnyModule): void {
  const [first, ...others] = module.namedParameters();
  if (first === undefined) return;
  const device = first[1].device;
  const elsewhere = others.filter(([, parameter]) => parameter.device !== device);
  const [example] = elsewhere;
  if (example === undefined) return;
  rankZeroWarn(
    `The model passed to \`fabric.setup()\` has ${elsewhere.length} parameters on different devices (for example '${example[0]}' on ${example[1].device} and '${first[0]}' on ${device}). Since \`moveToDevice: true\`, all parameters will be moved to the new device. If this is not desired, set \`fabric.setup(..., { moveToDevice: false })\`.`,
    "PossibleUserWarning",
  );
}

function onlyOnce(what: string, method: string): ConfigurationError {
  return new ConfigurationError(`${what} should be passed only once to the \`${method}\` method.`, {
    hint: "It is set up already: use it as it is.",
  });
}
