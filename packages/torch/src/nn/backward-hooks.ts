// internal: module hooks that see gradients during a backward pass. The tensors that go in, and those that come out, pass
// through one node of the graph each; a tensor hook there sees all their gradients at once.
import { isGradEnabled } from "../autograd/grad-mode.js";
import { describe, typeError } from "../check.js";
import { NotSupportedError, UsageError } from "../errors.js";
import { operator } from "../ops.js";
import { Tensor } from "../tensor.js";
import type { AnyModule } from "./module.js";
import type { BackwardHook, BackwardPreHook, Gradients, ModuleState } from "./module-state.js";
import { warnOnce } from "./warn.js";

const unbind = operator("aten", "unbind") as (tensor: Tensor, dim: number) => Tensor[];
const split = operator("aten", "split_with_sizes") as (tensor: Tensor, sizes: number[], dim: number) => Tensor[];
const cat = operator("aten", "cat") as (tensors: readonly Tensor[], dim: number) => Tensor;
const zerosLike = operator("aten", "zeros_like") as (tensor: Tensor) => Tensor;
const stack = operator("aten", "stack") as (tensors: readonly Tensor[], dim: number) => Tensor;

/** internal: one call of a module that has backward hooks. They are those of the time of the call. */
export class BackwardHooks {
  readonly #module: AnyModule;
  readonly #preHooks: readonly BackwardPreHook[];
  readonly #hooks: readonly BackwardHook[];
  #inputs = 0;
  #inputsAreWatched = false;
  #gradOutput: Gradients | null = null;

  constructor(module: AnyModule, state: ModuleState) {
    this.#module = module;
    this.#preHooks = [...state.backwardPreHooks.values()];
    this.#hooks = [...state.backwardHooks.values()];
  }

  /** The arguments to call `forward` with. */
  watchInputs<A extends unknown[]>(args: A): A {
    this.#inputs = args.length;
    const watched = this.#watch(args, (gradInput) => {
      const gradOutput = this.#gradOutput;
      // Gradients can reach the input around the output, for example through a penalty on what was computed inside.
      if (gradOutput === null) return gradInput;
      this.#gradOutput = null;
      return this.#callHooks(gradInput, gradOutput);
    });
    this.#inputsAreWatched = watched !== args;
    return watched as A;
  }

  /** The output to hand out in the place of what `forward` returned. */
  watchOutput<R>(output: R): R {
    const isList = Array.isArray(output);
    if (!isList && !(output instanceof Tensor)) {
      const name = this.#module.constructor.name;
      warnOnce(
        `backward-hook:${name}`,
        `The backward hooks of ${name} are not called: its output is ${describe(output)}, and has to be a Tensor or an array of Tensors.`,
      );
      return output;
    }
    const watched = this.#watch(isList ? output : [output], (gradients) => {
      let gradOutput = gradients;
      for (const hook of this.#preHooks) {
        gradOutput = replaced("gradOutput", gradOutput, hook(this.#module, gradOutput)) ?? gradOutput;
      }
      if (this.#inputsAreWatched) this.#gradOutput = gradOutput;
      else this.#callWithoutInputs(gradOutput);
      return gradOutput;
    });
    return (isList ? watched : watched[0]) as R;
  }

  #callHooks(gradInput: Gradients, gradOutput: Gradients): Gradients {
    let result = gradInput;
    for (const hook of this.#hooks) {
      result = replaced("gradInput", result, hook(this.#module, result, gradOutput)) ?? result;
    }
    return result;
  }

  #callWithoutInputs(gradOutput: Gradients): void {
    const none: Gradients = new Array<null>(this.#inputs).fill(null);
    for (const hook of this.#hooks) {
      const result = hook(this.#module, none, gradOutput);
      if (result === null || result === undefined) continue;
      if (Array.isArray(result) && result.every((item) => item === null || item === undefined)) continue;
      throw new UsageError(
        `A backward hook of ${this.#module.constructor.name} returned ${describe(result)}, but no input of the module requires a gradient.`,
        { hint: "Return nothing, or null for each input." },
      );
    }
  }

  /** Leads those of `values` that require a gradient through one node; `onGradients` may change what arrives there. */
  #watch(values: unknown[], onGradients: (gradients: Gradients) => Gradients): unknown[] {
    const places: number[] = [];
    if (isGradEnabled()) {
      values.forEach((value, i) => {
        if (value instanceof Tensor && value.requiresGrad) places.push(i);
      });
    }
    if (places.length === 0) return values;
    const { joined, parts, take, give } = join(places.map((i) => values[i] as Tensor));
    joined.registerHook(hookOf(places, values.length, onGradients, take, give));
    const watched = [...values];
    places.forEach((place, i) => {
      watched[place] = parts[i];
    });
    return watched;
  }
}

// Outside of `#watch`, whose scope has tensors of the graph: a hook that refers to them would keep its own graph alive.
function hookOf(
  places: readonly number[],
  count: number,
  onGradients: (gradients: Gradients) => Gradients,
  take: Joined["take"],
  give: Joined["give"],
): (gradient: Tensor) => Tensor | undefined {
  return (gradient) => {
    const gradients: Gradients = new Array<null>(count).fill(null);
    const pieces = take(gradient);
    places.forEach((place, i) => {
      gradients[place] = pieces[i] as Tensor;
    });
    const changed = onGradients(gradients);
    if (changed === gradients) return undefined;
    return give(places.map((place, i) => changed[place] ?? zerosLike(pieces[i] as Tensor)));
  };
}

interface Joined {
  /** The tensor that all gradients meet at. */
  joined: Tensor;
  /** The same values as the given tensors, made from it. */
  parts: Tensor[];
  /** A gradient of `joined` as gradients of the parts. */
  take(gradient: Tensor): Tensor[];
  /** The reverse. */
  give(gradients: Tensor[]): Tensor;
}

// Each way ends with an operator that gives several views: the engine refuses to change those in place, which would go
// around the hooks. PyTorch's own refuses it, too.
function join(tensors: readonly Tensor[]): Joined {
  const [first] = tensors as [Tensor];
  if (tensors.length === 1) {
    const joined = first.unsqueeze(0);
    return {
      joined,
      parts: unbind(joined, 0),
      take: (gradient) => [gradient.squeeze(0)],
      give: (gradients) => stack(gradients, 0),
    };
  }
  for (const tensor of tensors) {
    if (tensor.dtype === first.dtype && tensor.device === first.device) continue;
    throw new NotSupportedError(
      `Backward hooks need tensors of one dtype and device, but the module has ${first.dtype} on ${first.device} and ${tensor.dtype} on ${tensor.device} among its inputs or its outputs.`,
      { hint: "Use `tensor.registerHook` on each of them." },
    );
  }
  const shapes = tensors.map((tensor) => tensor.shape);
  const sizes = tensors.map((tensor) => tensor.numel());
  const joined = cat(
    tensors.map((tensor) => tensor.reshape([-1])),
    0,
  );
  const take = (flat: Tensor): Tensor[] => split(flat, sizes, 0).map((piece, i) => piece.view(shapes[i] as number[]));
  return {
    joined,
    parts: take(joined),
    take,
    give: (gradients) =>
      cat(
        gradients.map((gradient) => gradient.reshape([-1])),
        0,
      ),
  };
}

/** What a hook returned as a list of gradients, or null where it returned nothing. */
function replaced(name: string, before: Gradients, result: unknown): Gradients | null {
  if (result === null || result === undefined) return null;
  const list: unknown[] = Array.isArray(result) ? result : [result];
  for (const item of list) {
    if (item !== null && item !== undefined && !(item instanceof Tensor))
      throw typeError("result of the backward hook", "a Tensor, null, or an array of them", item);
  }
  if (list.length !== before.length) {
    throw new UsageError(
      `A backward hook returned ${list.length} gradients as \`${name}\`, but there are ${before.length}.`,
      {
        hint: "Return as many as the hook was given, null where there is none, or nothing to leave them as they are.",
      },
    );
  }
  list.forEach((item, i) => {
    const old = before[i];
    if (!(item instanceof Tensor) || !old) return;
    if (item.shape.join() === old.shape.join()) return;
    throw new UsageError(
      `A backward hook returned a gradient of shape [${item.shape.join(", ")}] in the place of one of shape [${old.shape.join(", ")}].`,
      { hint: "Return gradients of the shapes that the hook was given." },
    );
  });
  return list.map((item) => (item as Tensor | null | undefined) ?? null);
}
