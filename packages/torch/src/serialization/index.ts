// Saving and loading of values with tensors, in PyTorch's file format.
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
export { PyFloat, Tuple } from "./python-types.js";
export {
  fromSafetensors,
  type LoadFileOptions,
  loadFile,
  SafeTensorsFile,
  saveFile,
  toSafetensors,
} from "./safetensors-file.js";
export type { SafeTensors } from "./safetensors-writer.js";
