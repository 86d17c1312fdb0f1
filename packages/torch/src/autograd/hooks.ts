// Functions that see, and may replace, the gradient of a tensor during a backward pass. They run on the JavaScript thread.
import { typeError } from "../check.js";
import { type Handle, native } from "../native.js";
import { handleOf, Tensor, wrapHandle } from "../tensor.js";

/** What registering a hook returns. */
export interface HookHandle extends Disposable {
  /** Takes the hook off. Twice is harmless. */
  remove(): void;
}

// biome-ignore lint/suspicious/noConfusingVoidType: hooks may return nothing
type Hook = (grad: Tensor) => Tensor | null | undefined | void;

declare module "../tensor.js" {
  interface Tensor {
    /**
     * Calls `hook` with the gradient of this tensor each time it is computed; a tensor that it returns replaces the gradient.
     * An error thrown inside comes out of `backward` as it is. A hook that refers to the tensor itself keeps it alive until
     * it is removed.
     */
    registerHook(hook: Hook): HookHandle;
    /** Keeps the gradient of a tensor that is not a leaf in its `grad`. */
    retainGrad(): void;
  }
}

Tensor.prototype.registerHook = function (hook) {
  if (typeof hook !== "function") throw typeError("hook", "a function", hook);
  const id = native().registerHook(handleOf(this), onHandles(hook));
  let registered = true;
  const remove = (): void => {
    if (registered && !this.isDisposed) native().removeHook(handleOf(this), id);
    registered = false;
  };
  return { remove, [Symbol.dispose]: remove };
};

// Outside of `registerHook`, whose scope has the tensor: a hook must not keep its own tensor alive.
function onHandles(hook: Hook): (grad: Handle) => Handle | undefined {
  return (grad) => {
    const replaced = hook(wrapHandle(grad));
    if (replaced === undefined || replaced === null) return undefined;
    if (!(replaced instanceof Tensor)) throw typeError("result of the hook", "a Tensor or nothing", replaced);
    return handleOf(replaced);
  };
}

Tensor.prototype.retainGrad = function () {
  native().retainGrad(handleOf(this));
};
