// Success or failure of a step that all ranks take together: nobody goes on, or waits, while somebody failed.
import { CheckpointError, DistributedError } from "@fabric-ts/torch";

/** The preload of ranks finds it under the same name. */
const consequence = Symbol.for("@fabric-ts/fabric:consequence");

/** internal: what the ranks tell each other about a failure. */
export interface Failure {
  name: string;
  message: string;
  code: string;
}

/** internal: the part of a strategy that `agree` needs. */
export interface Gatherer {
  readonly globalRank: number;
  /** The value of every rank, by rank. `label` is what the user called, for error texts. */
  allGatherObject<T>(value: T, label?: string): Promise<T[]>;
}

/**
 * internal: runs `task` on this rank and returns its result once the task has succeeded on every rank. Where it failed, its own
 * error is thrown; where it succeeded but failed elsewhere, an error that names the rank and says why.
 */
export async function agree<T>(strategy: Gatherer, what: string, task: () => Promise<T>): Promise<T> {
  let outcome: { result: T } | { error: unknown };
  try {
    outcome = { result: await task() };
  } catch (error) {
    outcome = { error };
  }
  let failures: (Failure | null)[];
  try {
    failures = await strategy.allGatherObject("error" in outcome ? failureOf(outcome.error) : null, what);
  } catch (error) {
    throw "error" in outcome ? outcome.error : error;
  }
  if ("error" in outcome) throw outcome.error;
  const rank = failures.findIndex((failure) => failure !== null);
  const failure = failures[rank];
  if (failure) {
    // A checkpoint that failed somewhere is a failed checkpoint everywhere, so that one `catch` works on all ranks.
    const Kind = failure.name === "CheckpointError" ? CheckpointError : DistributedError;
    const error = new Kind(`${what} failed on rank ${rank}, and therefore on all: ${failure.message}`, {
      code: failure.code,
    });
    // The report of the job begins with the error of the rank that it happened on.
    throw Object.defineProperty(error, consequence, { value: true });
  }
  return outcome.result;
}

function failureOf(error: unknown): Failure {
  const { name, message, code } = error as { name?: unknown; message?: unknown; code?: unknown };
  return {
    name: String(name),
    message: String(message ?? error),
    code: typeof code === "string" ? code : "ERR_DISTRIBUTED",
  };
}
