// Stack traces of errors that come back from other threads.

/**
 * internal: waits for a promise of the addon. Its errors are made where no JavaScript runs; they get the stack of those who
 * wait here, which costs nothing as long as there is no error. Callers have to `await` rather than hand the promise on.
 */
export async function awaited<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Error) Error.captureStackTrace(error, awaited);
    throw error;
  }
}
