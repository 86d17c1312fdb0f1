// Forward-mode differentiation: tensors that carry a tangent along. Python: `torch.autograd.forward_ad`.
import { typeError } from "../check.js";
import { type Context, runContext } from "../context.js";
import { UsageError } from "../errors.js";
import { native } from "../native.js";
import { operator } from "../ops.js";
import { Tensor } from "../tensor.js";

let level = -1;

/** Tangents live inside. Levels cannot be nested. */
export function dualLevel(): Context;
export function dualLevel<T>(body: () => T): T;
export function dualLevel<T>(body?: () => T): T | Context {
  return runContext(
    "dualLevel",
    () => {
      if (level >= 0) {
        throw new UsageError("Levels of forward-mode differentiation cannot be nested.", {
          hint: "Leave the outer `dualLevel` first; for second derivatives use `autograd.grad` inside of it.",
        });
      }
      level = native().enterDualLevel();
      return () => {
        native().exitDualLevel(level);
        level = -1;
      };
    },
    body,
  );
}

function currentLevel(name: string): number {
  if (level >= 0) return level;
  throw new UsageError(`\`${name}\` was called outside of a level of forward-mode differentiation.`, {
    hint: "Put it inside: `autograd.forwardAd.dualLevel(() => ...)`.",
  });
}

/** A view of `tensor` that carries `tangent`, of the same shape and dtype, through what is computed from it. */
export function makeDual(tensor: Tensor, tangent: Tensor): Tensor {
  if (!(tensor instanceof Tensor)) throw typeError("tensor", "a Tensor", tensor);
  if (!(tangent instanceof Tensor)) throw typeError("tangent", "a Tensor", tangent);
  return operator("aten", "_make_dual")(tensor, tangent, currentLevel("makeDual")) as Tensor;
}

/** The value, and the tangent or null where there is none. */
export function unpackDual(tensor: Tensor): { primal: Tensor; tangent: Tensor | null } {
  if (!(tensor instanceof Tensor)) throw typeError("tensor", "a Tensor", tensor);
  const [primal, tangent] = operator("aten", "_unpack_dual")(tensor, currentLevel("unpackDual")) as [Tensor, Tensor];
  return { primal, tangent: tangent ?? null };
}
