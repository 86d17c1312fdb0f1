// Saving and loading of values with tensors, in PyTorch's file format and as safetensors.
export type { ByteSource } from "./byte-source.js";
export { copyOf } from "./copy.js";
export {
  deserialize,
  type LoadOptions,
  load,
  loadSync,
  save,
  saveInBackground,
  saveSync,
  serialize,
} from "./files.js";
export { lazyLoad, materializeTensors } from "./lazy-load.js";
export { PyFloat, Tuple } from "./python-types.js";
export * as safetensors from "./safetensors/index.js";
