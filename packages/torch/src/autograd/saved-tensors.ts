// Hooks on the tensors that operators keep for the backward pass: to pack them, move them away or compute them again.
// Python: `torch.autograd.graph`.
import { typeError } from "../check.js";
import { type Context, runContext } from "../context.js";
import { native } from "../native.js";
import { handleOf, recordTensors, Tensor, wrapHandle, wrapOptional } from "../tensor.js";

/**
 * internal: enters hooks; the result leaves them. `inputs` are saved as well, by the hooks outside of these, and freed
 * with the last packed tensor; `unpack` gets them from its second argument.
 */
export function pushHooks<P>(
  pack: (tensor: Tensor) => P,
  unpack: (packed: P, inputs: () => (Tensor | null)[]) => Tensor,
  inputs: readonly (Tensor | null)[] = [],
): () => void {
  const savedInputs = (): (Tensor | null)[] => native().savedHookInputs().map(wrapOptional);
  native().pushSavedTensorHooks(
    (handle) => outsideScopes(() => pack(wrapHandle(handle))),
    (packed) => {
      const tensor = unpack(packed as P, savedInputs);
      if (!(tensor instanceof Tensor)) throw typeError("result of unpack", "a Tensor", tensor);
      return handleOf(tensor);
    },
    inputs.map((input) => (input === null ? null : handleOf(input))),
  );
  return () => native().popSavedTensorHooks();
}

// What is packed lives as long as the graph, not as the scope in which an operator happened to save it.
function outsideScopes<T>(body: () => T): T {
  const outer = recordTensors(null);
  try {
    return body();
  } finally {
    recordTensors(outer);
  }
}

/**
 * Inside, `pack` gets each tensor that an operator keeps for backward and gives what to keep in its place; when the
 * backward pass wants the tensor, `unpack` makes it of that. The innermost pair counts. Python:
 * `torch.autograd.graph.saved_tensors_hooks`.
 * @param pack must not change its tensor
 */
export function savedTensorsHooks<P>(pack: (tensor: Tensor) => P, unpack: (packed: P) => Tensor): Context;
export function savedTensorsHooks<P, T>(pack: (tensor: Tensor) => P, unpack: (packed: P) => Tensor, body: () => T): T;
export function savedTensorsHooks<P, T>(
  pack: (tensor: Tensor) => P,
  unpack: (packed: P) => Tensor,
  body?: () => T,
): T | Context {
  if (typeof pack !== "function") throw typeError("pack", "a function", pack);
  if (typeof unpack !== "function") throw typeError("unpack", "a function", unpack);
  return runContext("savedTensorsHooks", () => pushHooks<P>(pack, (packed) => unpack(packed)), body);
}

/** Inside, tensors kept for backward wait in the host's memory and return to their device when they are needed. */
export function saveOnCpu(): Context;
export function saveOnCpu<T>(body: () => T): T;
export function saveOnCpu<T>(body?: () => T): T | Context {
  const pack = (tensor: Tensor) => ({ device: tensor.device, kept: tensor.to("cpu") });
  const unpack = (packed: ReturnType<typeof pack>): Tensor => packed.kept.to(packed.device);
  return runContext("saveOnCpu", () => pushHooks(pack, unpack), body);
}
