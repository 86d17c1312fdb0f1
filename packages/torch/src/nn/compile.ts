// `torch.compile`, so that scripts that call it run. LibTorch has no compiler: the result computes what the model computes, at the
// same speed. It is the module of its own that PyTorch makes, through which everything of the model is reached.
import { checkOptions, typeError } from "../check.js";
import { type AnyModule, Module } from "./module.js";

/** Options of `compile`. They are checked and kept; nothing depends on them. */
export interface CompileOptions {
  fullgraph?: boolean | undefined;
  dynamic?: boolean | null | undefined;
  backend?: string | undefined;
  mode?: string | null | undefined;
  options?: Record<string, unknown> | null | undefined;
  disable?: boolean | undefined;
}

const KNOWN = ["fullgraph", "dynamic", "backend", "mode", "options", "disable"];
type AnyFunction = (...args: unknown[]) => unknown;

/** What `compile(model)` returns. Its child `_orig_mod` is the model: names in state dicts begin with that, as in Python. */
export class OptimizedModule extends Module<unknown[], unknown> {
  /** The model. */
  readonly _orig_mod: AnyModule;
  /** The options that `compile` was given. */
  readonly compileOptions!: Readonly<CompileOptions>;

  constructor(model: AnyModule, options: CompileOptions = {}) {
    super();
    this._orig_mod = model;
    this.training = model.training;
    Object.defineProperty(this, "compileOptions", { value: Object.freeze(structuredClone(options)) });
    // biome-ignore lint/correctness/noConstructorReturn: the instance that users see is the Proxy
    return new Proxy(this, passThrough(new WeakMap()));
  }

  override forward(...args: unknown[]): unknown {
    return this._orig_mod(...args);
  }
}

// What the class above and nn.Module define is the wrapper's; everything else is read from and written to the model.
function passThrough(bound: WeakMap<AnyFunction, AnyFunction>): ProxyHandler<OptimizedModule> {
  const isOwn = (target: OptimizedModule, name: PropertyKey): boolean =>
    typeof name === "symbol" || Object.hasOwn(target, name) || name in OptimizedModule.prototype;
  return {
    get(target, name, proxy) {
      const holder = isOwn(target, name) ? target : target._orig_mod;
      const value: unknown = Reflect.get(holder, name, holder);
      if (typeof value !== "function" || value instanceof Module || name === "constructor") return value;
      if (typeof name === "symbol" || !isFromClass(holder, name, value)) return value;
      const method = value as AnyFunction;
      let made = bound.get(method);
      if (!made) {
        made = (...args) => {
          const result = method.apply(holder, args);
          return result === target ? proxy : result;
        };
        Object.defineProperties(made, { name: { value: method.name }, length: { value: method.length } });
        bound.set(method, made);
      }
      return made;
    },
    set: (target, name, value) => Reflect.set(isOwn(target, name) ? target : target._orig_mod, name, value),
    has: (target, name) => Reflect.has(target, name) || name in target._orig_mod,
  };
}

// False for functions in fields, and for those that a Proxy has made: these run on the right object already.
function isFromClass(holder: object, name: string, value: unknown): boolean {
  if (Object.hasOwn(holder, name)) return false;
  for (
    let level = Object.getPrototypeOf(holder) as object | null;
    level !== null;
    level = Object.getPrototypeOf(level) as object | null
  ) {
    const found = Object.getOwnPropertyDescriptor(level, name);
    if (found) return found.value === value;
  }
  return false;
}

/**
 * Takes a model (or a function, or nothing but options, for a decorator) as `torch.compile` does, and changes neither results nor
 * speed: there is no compiler in LibTorch. A model comes back inside an `OptimizedModule`, a function as it is.
 * @example
 * const model = torch.compile(new Net(), { mode: "reduce-overhead" });
 */
// biome-ignore lint/suspicious/noExplicitAny: any function
export function compile<M extends AnyModule | ((...args: any[]) => any)>(model: M, options?: CompileOptions): M;
// biome-ignore lint/suspicious/noExplicitAny: any function
export function compile(options?: CompileOptions): <M extends AnyModule | ((...args: any[]) => any)>(model: M) => M;
export function compile(model?: unknown, options?: CompileOptions): unknown {
  if (typeof model !== "function") {
    if (model !== undefined && model !== null && (typeof model !== "object" || options !== undefined)) {
      throw typeError("model", "a module or a function", model);
    }
    const given = (model ?? options ?? {}) as CompileOptions;
    check(given);
    return (target: AnyModule) => compile(target, given);
  }
  check(options ?? {});
  return model instanceof Module ? new OptimizedModule(model as AnyModule, options) : model;
}

function check(options: CompileOptions): void {
  checkOptions(options, KNOWN, 'compile(model, { mode: "reduce-overhead" })');
  const { fullgraph, dynamic, disable, mode, backend } = options;
  for (const [name, value] of Object.entries({ fullgraph, dynamic, disable })) {
    if (value !== undefined && value !== null && typeof value !== "boolean") throw typeError(name, "a boolean", value);
  }
  for (const [name, value] of Object.entries({ mode, backend })) {
    if (value !== undefined && value !== null && typeof value !== "string") throw typeError(name, "a string", value);
  }
}
