// The names of reductions.
import { ConfigurationError } from "@fabric-ts/torch";
import { describe } from "../utilities/describe.js";

/** How values of several ranks become one. */
export type ReduceOp = "mean" | "avg" | "sum" | "max" | "min" | "product" | "band" | "bor" | "bxor";

const names: readonly ReduceOp[] = ["mean", "avg", "sum", "max", "min", "product", "band", "bor", "bxor"];

/** internal: the canonical name of a reduction, in any case; `avg` is `mean`. */
export function reduceOp(given: unknown = "mean"): Exclude<ReduceOp, "avg"> {
  const name = typeof given === "string" ? (given.toLowerCase() as ReduceOp) : undefined;
  if (name === undefined || !names.includes(name)) {
    throw new ConfigurationError(`Unsupported reduce operation ${describe(given)}.`, {
      hint: `Use one of ${names.join(", ")}.`,
    });
  }
  return name === "avg" ? "mean" : name;
}
