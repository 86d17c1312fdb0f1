// `safetensors`: files of tensors by name, as Hugging Face's models come in, with the functions of Python's `safetensors.torch`.
export { SafetensorsFile } from "./file.js";
export {
  type LoadFileOptions,
  load,
  loadFile,
  loadFileSync,
  loadModel,
  loadState,
  safeOpen,
  save,
  saveFile,
  saveFileSync,
  saveModel,
  saveState,
} from "./files.js";
export type { Metadata, SafeTensors } from "./writer.js";
