// Looks at the memory behind a tensor.
import { native } from "../../../dist/native.js";
import { handleOf, type Tensor } from "../../../dist/tensor.js";

export function storageInfoOf(tensor: unknown): { key: bigint; nbytes: number } {
  return native().storageInfo(handleOf(tensor as Tensor));
}
