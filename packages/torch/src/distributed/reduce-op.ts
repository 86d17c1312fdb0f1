// How the values of several ranks become one.

/**
 * How a reduction combines the ranks' values, element by element: `"sum"`, `"avg"` (`"mean"` is the same), `"product"`,
 * `"min"`, `"max"`, and for integers and booleans `"band"`, `"bor"`, `"bxor"`. The average of integers is truncated toward zero.
 */
export type ReduceOp = "sum" | "avg" | "mean" | "product" | "min" | "max" | "band" | "bor" | "bxor";
