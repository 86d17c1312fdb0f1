// One file in the format of Python's torch.save.
import * as torch from "@fabric-ts/torch";
import { CheckpointIO, type CheckpointLoadOptions, type CheckpointPath } from "./checkpoint-io.js";
import { filePath, makeParentFolder, refuseStorageOptions, removeFile, requireFile } from "./paths.js";

/** Stores a checkpoint as one file that Python's `torch.load` reads. Parent directories are made; the file appears complete or not at all. */
export class TorchCheckpointIO extends CheckpointIO {
  override async saveCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void> {
    await this.#save(torch.save, checkpoint, path, storageOptions);
  }
  override async saveStableCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void> {
    await this.#save(torch.serialization.saveInBackground, checkpoint, path, storageOptions);
  }
  async #save(save: Save, checkpoint: unknown, path: CheckpointPath, storageOptions: unknown): Promise<void> {
    refuseStorageOptions(this, storageOptions);
    const file = filePath(path);
    await makeParentFolder(file);
    await save(checkpoint, file);
  }

  override async loadCheckpoint(path: CheckpointPath, options: CheckpointLoadOptions = {}): Promise<unknown> {
    const file = filePath(path);
    await requireFile(file);
    return torch.load(file, options as torch.serialization.LoadOptions);
  }

  override async removeCheckpoint(path: CheckpointPath): Promise<void> {
    await removeFile(filePath(path));
  }
}

type Save = (value: unknown, path: string) => Promise<void>;
