// Saving and loading of values with tensors, in PyTorch's file format and as safetensors.
export { AtomicFile } from "./atomic-file.js";
export { type ByteSource, FileSource } from "./byte-source.js";
export { copyOf } from "./copy.js";
export {
  deserialize,
  type FormatOptions,
  type LoadOptions,
  load,
  loadSync,
  save,
  saveInBackground,
  saveSync,
  serialize,
  serializeInPieces,
} from "./files.js";
export { lazyLoad, materializeTensors } from "./lazy-load.js";
export { PyFloat, Tuple } from "./python-types.js";
export * as safetensors from "./safetensors/index.js";
export { loadSharded } from "./sharded/load.js";
