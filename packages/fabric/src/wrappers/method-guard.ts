// Refuses methods that run a part of the model behind the strategy's back: while such a method runs, every module of the model has a
// hook that raises at once, before anything is computed. Other code that uses the model while an async method waits is left alone.
import { AsyncLocalStorage } from "node:async_hooks";
import { type nn, UsageError } from "@fabric-ts/torch";
import { type AnyGenerator, isGenerator, isThenable } from "../utilities/context.js";
import { modelName } from "./compiled.js";

/** internal: what the guard has to know about the wrapper. */
export interface GuardedModel {
  /** The user's model. */
  readonly original: nn.AnyModule;
  /** Above zero while a forward runs that came through the wrapper: that one is allowed. */
  readonly depth: number;
  readonly strategyName: string;
}

/** internal: calls `method` on the model and raises if it runs any of the model's modules, also later: in a promise or a generator. */
export function callGuarded(
  model: GuardedModel,
  name: string,
  method: (...args: unknown[]) => unknown,
  args: unknown[],
): unknown {
  return new MethodGuard(model, name).watch(() => method.apply(model.original, args));
}

// The guarded methods, from the outermost to the innermost, that called the code that runs.
const callers = new AsyncLocalStorage<readonly MethodGuard[]>();

class MethodGuard {
  readonly #model: GuardedModel;
  readonly #name: string;
  #hooks: Disposable[] = [];
  #fired: UsageError | null = null;

  constructor(model: GuardedModel, name: string) {
    this.#model = model;
    this.#name = name;
  }

  /** Runs `fn` with the hooks in place; takes them away when it returns, throws, or its promise settles. */
  watch(fn: () => unknown): unknown {
    this.#start();
    let result: unknown;
    let isPending = false;
    try {
      result = callers.run([...(callers.getStore() ?? []), this], fn);
      isPending = isThenable(result);
    } finally {
      if (!isPending) this.#stop();
    }
    if (isPending) return this.#watchPromise(result as PromiseLike<unknown>);
    this.#check();
    return isGenerator(result) ? this.#watchGenerator(result) : result;
  }

  async #watchPromise(promise: PromiseLike<unknown>): Promise<unknown> {
    try {
      return await promise;
    } finally {
      this.#stop();
      this.#check();
    }
  }

  /** A generator runs when somebody asks for values, so each request is watched. */
  #watchGenerator(generator: AnyGenerator): object {
    const watched: Record<PropertyKey, unknown> = {
      next: (...args: unknown[]) => this.watch(() => generator.next(...args)),
      return: (...args: unknown[]) => this.watch(() => generator.return(...args)),
      throw: (...args: unknown[]) => this.watch(() => generator.throw(...args)),
      [Symbol.toStringTag]: generator[Symbol.toStringTag],
    };
    const iterate = (): object => watched;
    watched[generator[Symbol.toStringTag] === "Generator" ? Symbol.iterator : Symbol.asyncIterator] = iterate;
    return watched;
  }

  #start(): void {
    for (const module of this.#model.original.modules())
      this.#hooks.push(module.registerForwardPreHook(() => this.#onForward()));
  }

  #stop(): void {
    for (const hook of this.#hooks.splice(0)) hook[Symbol.dispose]();
  }

  #onForward(): undefined {
    if (this.#model.depth > 0 || !callers.getStore()?.includes(this)) return undefined;
    this.#fired = this.#error();
    throw this.#fired;
  }

  /** Raises again what the method may have caught. */
  #check(): void {
    if (this.#fired !== null) throw this.#fired;
  }

  #error(): UsageError {
    const { original, strategyName } = this.#model;
    const name = this.#name;
    return new UsageError(
      `You are calling the method \`${modelName(original)}.${name}()\` from outside the model. To avoid issues with the currently selected strategy (\`${strategyName}\`), explicitly mark it as a forward method.`,
      {
        code: "ERR_FORWARD_METHOD",
        hint: `Call \`fabricModel.markForwardMethod('${name}')\` after \`fabric.setup()\`.`,
      },
    );
  }
}
