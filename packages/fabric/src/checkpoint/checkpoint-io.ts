// How checkpoints are stored. Give Fabric another implementation through `plugins`.

/** A path in the file system. */
export type CheckpointPath = string | URL;

/** Writes, reads and removes checkpoints. `saveCheckpoint` is called on global rank zero only, `loadCheckpoint` on every rank. */
export abstract class CheckpointIO {
  /** Stores a dictionary of tensors and plain values. A failed write must leave what was there before. */
  abstract saveCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void>;
  /** Reads what `saveCheckpoint` stored; tensors are on the CPU. */
  abstract loadCheckpoint(path: CheckpointPath): Promise<unknown>;
  /** Removes a checkpoint; one that does not exist is no error. */
  abstract removeCheckpoint(path: CheckpointPath): Promise<void>;
  /** Frees what the plugin holds. */
  teardown(): void {}
}
