// Saving in the background: training goes on while the last checkpoint is written by any other `CheckpointIO`.
import { serialization } from "@fabric-ts/torch";
import { hasBegun, hasEnded } from "../utilities/background.js";
import { className } from "../utilities/describe.js";
import { writeQuietly } from "../utilities/write-quietly.js";
import { CheckpointIO, type CheckpointLoadOptions, type CheckpointPath } from "./checkpoint-io.js";
import { TorchCheckpointIO } from "./torch-checkpoint-io.js";

/**
 * Copies a checkpoint, tensors included, and writes the copy in the background with another `CheckpointIO` (default:
 * `TorchCheckpointIO`). One checkpoint is written at a time: a save waits for the one before it, so that there is never
 * more than one copy. An error of the background is thrown by the next save, load or removal, or by `teardown`; when none of
 * these comes it is thrown at the end of the program, which then exits with an error. The process stays alive until the file is
 * complete, unless `process.exit()` ends it: then the loss is told, and the exit code is not 0.
 *
 *     const fabric = new Fabric({ plugins: [new AsyncCheckpointIO()] });
 */
export class AsyncCheckpointIO extends CheckpointIO {
  /** Writes and reads. */
  readonly checkpointIO: CheckpointIO;
  #writing: Promise<void> | null = null;
  #failure: { error: unknown } | null = null;

  /** @throws TypeError when `checkpointIO` is none */
  constructor(checkpointIO: CheckpointIO = new TorchCheckpointIO()) {
    super();
    if (!(checkpointIO instanceof CheckpointIO)) {
      throw new TypeError(
        `Expected \`AsyncCheckpointIO\` to be given a \`CheckpointIO\`, but got ${className(checkpointIO) || String(checkpointIO)}.\nFor example \`new AsyncCheckpointIO(new TorchCheckpointIO())\`.`,
      );
    }
    this.checkpointIO = checkpointIO;
  }

  /** True while a checkpoint is being written. */
  get isSaving(): boolean {
    return this.#writing !== null;
  }

  /** Resolves as soon as the copy is made; throws what went wrong with the checkpoint before. */
  override async saveCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void> {
    do await this.flush();
    while (this.#writing !== null);
    const copy = serialization.copyOf(checkpoint);
    this.#writing = this.#write(copy, path, storageOptions);
  }
  override async loadCheckpoint(path: CheckpointPath, options?: CheckpointLoadOptions): Promise<unknown> {
    await this.flush();
    return await this.checkpointIO.loadCheckpoint(path, options);
  }
  override async removeCheckpoint(path: CheckpointPath): Promise<void> {
    await this.flush();
    await this.checkpointIO.removeCheckpoint(path);
  }

  /** Waits until the last checkpoint is complete; throws when it failed. */
  async flush(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
    const failure = this.#failure;
    this.#failure = null;
    hasEnded(this.#finish);
    process.off("beforeExit", this.#throwAtExit);
    if (failure !== null) throw failure.error;
  }
  /** Waits for the last checkpoint, then ends the other `CheckpointIO`. Throws when the checkpoint failed. */
  override async teardown(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.checkpointIO.teardown();
    }
  }

  /** Never rejects: a failure is kept until somebody asks. */
  async #write(copy: Record<string, unknown>, path: CheckpointPath, storageOptions: unknown): Promise<void> {
    // Whatever the other one waits for, the process stays until it is done.
    const staying = setInterval(() => {}, 2 ** 30);
    hasBegun(this.#finish);
    const tellLoss = (): void => {
      writeQuietly(
        process.stderr,
        `AsyncCheckpointIO: the process ends before ${path} is written; this checkpoint is lost.\nType \`await io.flush()\` before \`process.exit()\`, or let the program come to its end.\n`,
      );
      process.exitCode ||= 1;
    };
    process.on("exit", tellLoss);
    try {
      await this.checkpointIO.saveStableCheckpoint(copy, path, storageOptions);
      hasEnded(this.#finish);
    } catch (error) {
      this.#failure = { error };
      process.once("beforeExit", this.#throwAtExit);
    } finally {
      clearInterval(staying);
      process.off("exit", tellLoss);
      this.#writing = null;
    }
  }
  readonly #finish = (): Promise<void> => this.flush();
  readonly #throwAtExit = (): void => {
    if (this.#failure !== null) throw this.#failure.error;
  };
}
