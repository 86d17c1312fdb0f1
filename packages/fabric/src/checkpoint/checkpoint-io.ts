// How checkpoints are stored. Give Fabric another implementation through `plugins`.

/** A path in the file system, or an address with a scheme that a file system is registered for. */
export type CheckpointPath = string | URL;

/** How a checkpoint is read. */
export interface CheckpointLoadOptions {
  /** Where the tensors go (default: the CPU). */
  mapLocation?: string | null | undefined;
  /** As in PyTorch; whatever it is, implementations of this package load only data and never run code. */
  weightsOnly?: boolean | null | undefined;
}

/**
 * Writes, reads and removes checkpoints. `saveCheckpoint` is called on global rank zero only, `loadCheckpoint` on every rank.
 *
 *     class MemoryCheckpointIO extends CheckpointIO {
 *       #files = new Map<string, Uint8Array>();
 *       async saveCheckpoint(checkpoint: Record<string, unknown>, path: CheckpointPath) {
 *         this.#files.set(String(path), serialization.serialize(checkpoint));
 *       }
 *       async loadCheckpoint(path: CheckpointPath) {
 *         return serialization.deserialize(this.#files.get(String(path))!);
 *       }
 *       async removeCheckpoint(path: CheckpointPath) { this.#files.delete(String(path)); }
 *     }
 *     const fabric = new Fabric({ plugins: [new MemoryCheckpointIO()] });
 */
export abstract class CheckpointIO {
  /**
   * Stores a dictionary of tensors and plain values, which is read before the promise is returned. A failed write must leave
   * what was there before.
   */
  abstract saveCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void>;
  /** Reads what `saveCheckpoint` stored; tensors are on the CPU unless `mapLocation` says otherwise. */
  abstract loadCheckpoint(path: CheckpointPath, options?: CheckpointLoadOptions): Promise<unknown>;
  /** Removes a checkpoint; one that does not exist is no error. */
  abstract removeCheckpoint(path: CheckpointPath): Promise<void>;
  /** Like `saveCheckpoint`, for a checkpoint that nobody changes before the promise resolves, so that it may be read piece by piece. */
  async saveStableCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void> {
    await this.saveCheckpoint(checkpoint, path, storageOptions);
  }
  /** Frees what the plugin holds. */
  teardown(): void | Promise<void> {}
}
