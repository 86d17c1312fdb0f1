// One file in the format of Python's torch.save, or a safetensors file where the name says so, on any file system.
import * as torch from "@fabric-ts/torch";
import { fileSystemOf } from "../filesystems/registry.js";
import { CheckpointIO, type CheckpointLoadOptions, type CheckpointPath } from "./checkpoint-io.js";
import { localFile, makeParentFolder, openFile, refuseStorageOptions } from "./paths.js";
import { isShardedFolder, loadShardedCheckpoint } from "./sharded.js";

type Format = NonNullable<torch.serialization.FormatOptions["format"]>;

/**
 * Stores a checkpoint as one file that Python's `torch.load` reads, or, when its name ends in `.safetensors`, as a safetensors file. Paths
 * may have the scheme of any registered file system. Folders are made; the file appears complete or not at all.
 */
export class TorchCheckpointIO extends CheckpointIO {
  override async saveCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void> {
    await this.#save(path, storageOptions, {
      stable: () => torch.serialization.copyOf(checkpoint),
      write: (file, format) => (format === "torch" ? torch.save : torch.safetensors.saveState)(checkpoint, file),
    });
  }
  override async saveStableCheckpoint(
    checkpoint: Record<string, unknown>,
    path: CheckpointPath,
    storageOptions?: unknown,
  ): Promise<void> {
    await this.#save(path, storageOptions, {
      stable: () => checkpoint,
      write: (file, format) => torch.serialization.saveInBackground(checkpoint, file, { format }),
    });
  }
  /** `stable` gives what does not change while it is sent elsewhere; `write` makes a file of this machine. */
  async #save(
    path: CheckpointPath,
    storageOptions: unknown,
    how: { stable: () => Record<string, unknown>; write: (file: string | URL, format: Format) => unknown },
  ): Promise<void> {
    refuseStorageOptions(this, storageOptions);
    const file = localFile(path);
    const format = this.formatOf(path);
    if (file === null) {
      await upload(how.stable(), path, format);
      return;
    }
    makeParentFolder(file);
    await how.write(file, format);
  }

  /** Reads either format, whatever the file is called, and folders that sharded strategies have written. */
  override async loadCheckpoint(path: CheckpointPath, options: CheckpointLoadOptions = {}): Promise<unknown> {
    const file = await openFile(path).catch(async (error: unknown) => {
      const { code = "" } = error as { code?: string };
      // Object stores know no folders: there is no object of that name.
      if (["EISDIR", "ENOENT"].includes(code) && (await isShardedFolder(path))) return null;
      throw error;
    });
    if (file === null) return await loadShardedCheckpoint(path);
    try {
      return await torch.load(file, options as torch.serialization.LoadOptions);
    } finally {
      await file.close();
    }
  }

  override async removeCheckpoint(path: CheckpointPath): Promise<void> {
    const { fileSystem, path: address } = fileSystemOf(path);
    await fileSystem.remove(address);
  }

  /** The format of a new file. */
  protected formatOf(path: CheckpointPath): Format {
    return /\.safetensors$/i.test(path instanceof URL ? path.pathname : path) ? "safetensors" : "torch";
  }
}

async function upload(checkpoint: Record<string, unknown>, path: CheckpointPath, format: Format): Promise<void> {
  const pieces = torch.serialization.serializeInPieces(checkpoint, { format });
  const { fileSystem, path: address } = fileSystemOf(path);
  const file = await fileSystem.openWrite(address);
  try {
    for await (const piece of pieces) await file.write(piece);
    await file.commit();
  } catch (error) {
    await file.abort();
    throw error;
  }
}
