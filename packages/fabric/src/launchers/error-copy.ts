// Errors of another process: the same class where both have it, the same message and code, the other's stack.
import * as base from "@fabric-ts/torch/base";

/** internal: what is sent of an error. */
export interface ErrorFacts {
  name: string;
  message: string;
  stack: string;
  code?: string | undefined;
}

/** internal: the facts of an error. */
export function factsOf(error: Error): ErrorFacts {
  const { name, message, stack = "" } = error;
  const { code } = error as { code?: unknown };
  return { name, message, stack, code: typeof code === "string" ? code : undefined };
}

/** internal: an error with these facts. */
export function errorFrom({ name, message, stack, code }: ErrorFacts): Error {
  const error = make(name, message, code);
  error.stack = stack || `${name}: ${message}`;
  return error;
}

function make(name: string, message: string, code: string | undefined): Error {
  const Own = (base as Record<string, unknown>)[name] as typeof base.FabricError | undefined;
  if (Own?.prototype instanceof base.FabricError) return new Own(message, code === undefined ? {} : { code });
  const BuiltIn = (globalThis as Record<string, unknown>)[name] as typeof Error | undefined;
  const error = BuiltIn?.prototype instanceof Error ? new BuiltIn(message) : new Error(message);
  if (error.name !== name) Object.defineProperty(error, "name", { value: name, configurable: true, writable: true });
  return code === undefined ? error : Object.assign(error, { code });
}
