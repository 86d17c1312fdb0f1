// Errors on their way from a worker: class name, message, stack, code and causes.

/** internal: an error as it is posted. */
export interface SentError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
  readonly cause: SentError | undefined;
}

const builtIn: Record<string, ErrorConstructor> = {
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  EvalError,
  URIError,
};

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

/** internal: the error with the worker's stack: of its own class where JavaScript has it, otherwise an Error of its name. */
export function decodeError(sent: SentError): Error {
  const cause = sent.cause === undefined ? undefined : { cause: decodeError(sent.cause) };
  const error = new (builtIn[sent.name] ?? Error)(sent.message, cause);
  if (error.name !== sent.name)
    Object.defineProperty(error, "name", { value: sent.name, configurable: true, writable: true });
  Object.defineProperty(error, "stack", {
    value: sent.stack ?? `${sent.name}: ${sent.message}`,
    configurable: true,
    writable: true,
  });
  if (sent.code !== undefined)
    Object.defineProperty(error, "code", { value: sent.code, configurable: true, enumerable: true });
  return error;
}

function printed(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "a value that cannot be printed";
  }
}
