// internal: models that went through `torch.compile`, which stay outermost: the strategy's module goes between them and the model.
import { type CompileOptions, compile, type nn, OptimizedModule } from "@fabric-ts/torch";
import { className } from "../utilities/describe.js";

/** internal: the module inside, and the options to compile another with; null where nothing was compiled. */
export function unwrapCompiled(module: nn.AnyModule): { module: nn.AnyModule; options: CompileOptions | null } {
  if (!(module instanceof OptimizedModule)) return { module, options: null };
  return { module: module._orig_mod, options: module.compileOptions };
}

/** internal: compiles where there are options. */
export function recompiled(module: nn.AnyModule, options: CompileOptions | null): nn.AnyModule {
  return options === null ? module : compile(module, options);
}

/** internal: what a compiled module is of, or the value itself. */
export function withoutCompiled<T>(value: T): T {
  return value instanceof OptimizedModule ? (value._orig_mod as T) : value;
}

/** internal: the name of a model's class, also of one that is compiled. */
export function modelName(module: nn.AnyModule): string {
  return className(withoutCompiled(module));
}
