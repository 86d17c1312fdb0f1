// The error classes of both packages. Each carries a stable `code` and, where there is one, a `hint`: what to do next.

/** What every error class of the project accepts beside its message. */
export interface ErrorDetails {
  /** A stable, machine-readable code such as `"ENOENT"` or `"ERR_DISPOSED"`. */
  code?: string;
  /** The next move, shown on a line of its own below the message. */
  hint?: string;
  /** The error that led to this one. */
  cause?: unknown;
}

/** Base of all errors that this project throws on purpose (wrong argument types are plain `TypeError`s). */
export class FabricError extends Error {
  /** A stable, machine-readable code. */
  readonly code: string;
  /** What to do next, or `undefined`. The message ends with it, so a printed error does not list it again. */
  declare readonly hint: string | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(
      details.hint ? `${message}\n${details.hint}` : message,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.name = new.target.name;
    this.code = details.code ?? "ERR_FABRIC";
    Object.defineProperty(this, "hint", { value: details.hint, configurable: true });
  }
}

/** An option, flag or environment variable has a value that cannot work. Python: `ValueError`, `MisconfigurationException`. */
export class ConfigurationError extends FabricError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { code: "ERR_CONFIGURATION", ...details });
  }
}

/** Calls in the wrong order or on the wrong object. Python: `RuntimeError`. */
export class UsageError extends FabricError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { code: "ERR_USAGE", ...details });
  }
}

/** This machine, engine version or build cannot do what was asked. Python: `NotImplementedError`, missing packages. */
export class NotSupportedError extends FabricError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { code: "ERR_NOT_SUPPORTED", ...details });
  }
}

/** A checkpoint file is missing, damaged, foreign or could not be written. `code` is the system's (`"ENOENT"`) where there is one. */
export class CheckpointError extends FabricError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { code: "ERR_CHECKPOINT", ...details });
  }
}

/** The engine (LibTorch) refused a call; the message names the operator and what it was given. */
export class TorchError extends FabricError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { code: "ERR_TORCH", ...details });
  }
}

/** A peer process failed, vanished or did not arrive in time. */
export class DistributedError extends FabricError {
  constructor(message: string, details: ErrorDetails = {}) {
    super(message, { code: "ERR_DISTRIBUTED", ...details });
  }
}

/** A worker of a data loader could not load a sample, died, or gave no batch in time. `cause` is the worker's own error, where there is one. */
export class DataLoaderError extends FabricError {
  /** Number of the worker. */
  readonly workerId: number;
  /** The sample that it was loading, where that is known. */
  readonly index: number | null;

  constructor(message: string, details: ErrorDetails & { workerId: number; index: number | null }) {
    super(message, { code: "ERR_DATA_LOADER", ...details });
    this.workerId = details.workerId;
    this.index = details.index;
  }
}
