// Errors on their way from a worker: class name, message, stack, code and causes.
import * as errors from "../../errors.js";

/** internal: an error as it is posted. */
export interface SentError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
  readonly cause: SentError | undefined;
}

const deepest = 8;

/** internal: an error, or anything else that was thrown, for another thread. */
export function encodeError(error: unknown, depth = 0): SentError {
  if (!(error instanceof Error))
    return { name: "Error", message: `Thrown: ${printed(error)}`, stack: undefined, code: undefined, cause: undefined };
  const { code } = error as { code?: unknown };
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    code: typeof code === "string" ? code : undefined,
    cause: error.cause === undefined || depth >= deepest ? undefined : encodeError(error.cause, depth + 1),
  };
}

/** internal: the error with the worker's stack: of its own class where that is JavaScript's or this package's, otherwise an Error of its name. */
export function decodeError(sent: SentError): Error {
  const { name, message, stack, code } = sent;
  const error = make(sent);
  const hidden = { configurable: true, writable: true };
  if (error.name !== name) Object.defineProperty(error, "name", { value: name, ...hidden });
  Object.defineProperty(error, "stack", { value: stack ?? `${name}: ${message}`, ...hidden });
  if (code !== undefined && !("code" in error)) Object.assign(error, { code });
  return error;
}

function make({ name, message, code, cause }: SentError): Error {
  const details = cause === undefined ? {} : { cause: decodeError(cause) };
  const Own = (errors as Record<string, unknown>)[name] as typeof errors.ConfigurationError | undefined;
  if (Own?.prototype instanceof errors.FabricError)
    return new Own(message, code === undefined ? details : { ...details, code });
  const BuiltIn = (globalThis as Record<string, unknown>)[name] as typeof Error | undefined;
  return BuiltIn?.prototype instanceof Error ? new BuiltIn(message, details) : new Error(message, details);
}

function printed(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "a value that cannot be printed";
  }
}
