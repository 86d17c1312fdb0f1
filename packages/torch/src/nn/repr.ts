// internal: the text of a module, line by line as PyTorch prints it.
import { childrenOf } from "./members.js";
import type { AnyModule } from "./module.js";

/** internal: `Name(extra)` for a module without children, otherwise one indented line for each. */
export function moduleText(module: AnyModule): string {
  const extra = module.extraRepr();
  const extraLines = extra ? extra.split("\n") : [];
  const childLines = childrenOf(module).map(
    ([name, child]) => `(${name}): ${child.toString().replaceAll("\n", "\n  ")}`,
  );
  const name = module.constructor.name;
  if (extraLines.length === 1 && childLines.length === 0) return `${name}(${extraLines[0]})`;
  const lines = [...extraLines, ...childLines];
  return lines.length === 0 ? `${name}()` : `${name}(\n  ${lines.join("\n  ")}\n)`;
}
