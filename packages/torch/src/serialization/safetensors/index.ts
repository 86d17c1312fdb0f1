// `safetensors`: files of tensors by name, as Hugging Face's models come in, with the functions of Python's `safetensors.torch`.
export { SafetensorsFile } from "./file.js";
export {
  type LoadFileOptions,
  load,
  loadFile,
  loadFileSync,
  loadModel,
  safeOpen,
  save,
  saveFile,
  saveFileSync,
  saveModel,
} from "./files.js";
export { saveState } from "./state-files.js";
export type { Metadata, SafeTensors } from "./writer.js";
