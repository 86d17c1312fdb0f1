// Puts operators on Tensor's prototype. Which ones is in ops.generated.ts.
import { method } from "./ops.js";
import { Tensor } from "./tensor.js";

/** internal: the JavaScript spelling of a name: `log_softmax` -> `logSoftmax`; an underscore at either end stays. */
export function camelCase(name: string): string {
  return name.replace(/(?<!^)_+([^_])/g, (_, letter: string) => letter.toUpperCase());
}

/** internal: makes each operator of a list such as `"abs abs_ log_softmax"` a method. What Tensor has by hand stays. */
export function installMethods(names: string): void {
  for (const name of names.split(" ")) {
    const key = camelCase(name);
    if (Object.hasOwn(Tensor.prototype, key)) continue;
    Object.defineProperty(Tensor.prototype, key, { value: method(name), writable: true, configurable: true });
  }
}
