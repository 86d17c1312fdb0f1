// Operators as methods of Tensor. Which ones is in ops.generated.ts.
import { method } from "./ops.js";
import { Tensor } from "./tensor.js";

/** internal: the JavaScript spelling of a name: `log_softmax` -> `logSoftmax`; an underscore at either end stays. */
export function camelCase(name: string): string {
  return name.replace(/(?<!^)_+([^_])/g, (_, letter: string) => letter.toUpperCase());
}

/**
 * internal: makes each operator of a list such as `"abs abs_ log_softmax"` a method, unless Tensor has it by hand. They live
 * on a prototype of their own behind Tensor's: adding hundreds of properties to an existing one costs V8 several times more.
 */
export function installMethods(names: string): void {
  const table = Object.create(null) as Record<string, unknown>;
  for (const name of names.split(" ")) table[camelCase(name)] = method(name);
  Object.setPrototypeOf(table, Object.prototype);
  Object.setPrototypeOf(Tensor.prototype, table);
}
