// internal: refuses options that a function does not have. Layers hand themselves on as options, with whatever else they have.
import { checkOptions, typeError } from "../../check.js";
import { Tensor } from "../../tensor.js";

/** internal: `options` is a layer, or an object of the given names only. */
export function known(name: string, options: unknown, names: readonly string[]): void {
  if (typeof options === "function") return;
  if (typeof options === "object" && options !== null) {
    let fine = !Array.isArray(options);
    for (const key in options) fine &&= names.includes(key);
    if (options instanceof Tensor) throw typeError("options", "an object of named options", options);
    if (fine) return;
  }
  checkOptions(options, names, `nn.functional.${name}(..., { ${names[0]}: ... })`);
}
