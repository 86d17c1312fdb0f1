// internal: numbers, booleans and lists as Python writes them, for texts that readers compare with PyTorch's.

/** internal: a floating-point number as Python's `repr` writes it: `0.5`, `1.0`, `1e-05`. */
export function pyFloat(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [digits, exponent] = value.toExponential().split("e") as [string, string];
    const power = Number(exponent);
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** internal: a boolean as Python writes it. */
export function pyBool(value: boolean): string {
  return value ? "True" : "False";
}

/** internal: a tuple as Python writes it: `(3, 3)`, `(3,)`. */
export function pyTuple(values: readonly unknown[]): string {
  return values.length === 1 ? `(${values[0]},)` : `(${values.join(", ")})`;
}

/** internal: a number as it is, a list as a tuple. */
export function pyNumberOrTuple(value: number | readonly number[] | null): string {
  if (value === null) return "None";
  return typeof value === "number" ? String(value) : pyTuple(value);
}
