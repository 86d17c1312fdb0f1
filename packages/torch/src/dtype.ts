// Names of element types and devices, as strings and as constants.

/** An element type, spelled as in PyTorch without the `torch.` prefix. */
export type Dtype =
  | "float32"
  | "float64"
  | "float16"
  | "bfloat16"
  | "int64"
  | "int32"
  | "int16"
  | "int8"
  | "uint8"
  | "bool"
  | "complex64"
  | "complex128";

/** A device such as `"cpu"`, `"cuda"` or `"cuda:1"`. */
export type Device = "cpu" | "cuda" | `cuda:${number}` | "mps" | `mps:${number}` | "meta";

export const float32 = "float32",
  float = "float32",
  float64 = "float64",
  double = "float64";
export const float16 = "float16",
  half = "float16",
  bfloat16 = "bfloat16";
export const int64 = "int64",
  long = "int64",
  int32 = "int32",
  int = "int32",
  int16 = "int16",
  short = "int16";
export const int8 = "int8",
  uint8 = "uint8",
  bool = "bool",
  complex64 = "complex64",
  complex128 = "complex128";

const itemSizes: Record<Dtype, number> = {
  float32: 4,
  float64: 8,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
  complex64: 8,
  complex128: 16,
};

/** All element types. */
export const dtypes = Object.keys(itemSizes) as Dtype[];

/** Bytes of one element. */
export function itemSize(dtype: Dtype): number {
  return itemSizes[dtype];
}

/** True for `float16`, `bfloat16`, `float32` and `float64`. */
export function isFloatingDtype(dtype: string): boolean {
  return dtype === "float32" || dtype === "float64" || dtype === "float16" || dtype === "bfloat16";
}
