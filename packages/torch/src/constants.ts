// Numbers that PyTorch has under these names.

/** The circumference of a circle of diameter one. */
export const pi = Math.PI;
/** The base of natural logarithms. */
export const e = Math.E;
/** Infinity. */
export const inf = Number.POSITIVE_INFINITY;
/** Not a number. */
export const nan = Number.NaN;
