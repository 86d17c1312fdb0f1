// What callbacks take out of the facts that hooks are given, checked.
import { ConfigurationError, UsageError } from "@fabric-ts/torch";
import type { Fabric } from "../fabric.js";
import { describe } from "../utilities/describe.js";
import type { HookFacts } from "./hooks.js";

/** The hook whose metrics a callback looks at. */
export type MetricsHook = "onValidationEnd" | "onTrainEpochEnd" | "onTrainBatchEnd";

const metricsHooks: readonly MetricsHook[] = ["onValidationEnd", "onTrainEpochEnd", "onTrainBatchEnd"];

/** internal: refuses other hooks. */
export function checkMetricsHook(owner: string, hook: unknown): void {
  if ((metricsHooks as readonly unknown[]).includes(hook)) return;
  throw new ConfigurationError(`\`hook\` of ${owner} is ${describe(hook)}.`, {
    hint: `Choose one of ${metricsHooks.map((name) => `"${name}"`).join(", ")}.`,
  });
}

/** internal: what was given to a hook, when it is an object. */
export function factsOf<F extends HookFacts>(owner: string, hook: string, facts: F | undefined): F {
  if (typeof facts === "object" && facts !== null && !Array.isArray(facts)) return facts;
  throw new TypeError(
    `Expected \`${owner}.${hook}\` to be given an object, but got ${describe(facts)}.\nFor example \`await fabric.call("${hook}", { epoch, step, metrics })\`.`,
  );
}

/** internal: a count out of the facts (an epoch, a step, the number of a batch), which has to be there. */
export function countIn(owner: string, hook: string, facts: HookFacts, name: string): number {
  const value = facts[name];
  if (isCount(value)) return value;
  throw new TypeError(
    `Expected \`${owner}.${hook}\` to be given \`${name}\`, a whole number from 0, but got ${describe(value)}.\nType \`await fabric.call("${hook}", { ${name}, ... })\`.`,
  );
}

/** internal: true for whole numbers from 0. */
export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** internal: the Fabric that a callback works for: the one in the facts, or the last that set up a model. */
export class FabricSlot {
  readonly #owner: string;
  #fabric: Fabric | undefined;

  constructor(owner: string) {
    this.#owner = owner;
  }

  set(fabric: Fabric): void {
    this.#fabric = fabric;
  }
  from(facts: HookFacts): Fabric {
    const fabric = facts.fabric ?? this.#fabric;
    if (typeof (fabric as Partial<Fabric> | undefined)?.strategy === "object") return fabric as Fabric;
    if (fabric !== undefined) throw new TypeError(`Expected \`fabric\` to be a Fabric, but got ${describe(fabric)}.`);
    throw new UsageError(`${this.#owner} does not know the Fabric that it works for.`, {
      hint: "Pass it, `await fabric.call(hook, { fabric, ... })`, or give the callback to `new Fabric({ callbacks })` before `fabric.setup`.",
    });
  }
}
