// Saving and loading of values with tensors, in PyTorch's file format.
export { deserialize, type LoadOptions, load, loadSync, save, saveSync, serialize } from "./files.js";
export { PyFloat, Tuple } from "./python-types.js";
