// Checkpoints of sharded strategies: a folder with a file for each process, an index and `meta.pt` for what is not sharded.
import { realpath } from "node:fs/promises";
import { sep } from "node:path";
import { CheckpointError, load, serialization } from "@fabric-ts/torch";
import { schemeOf, shownAddress } from "../filesystems/address.js";
import { fileSystemOf } from "../filesystems/registry.js";
import type { CheckpointPath } from "./checkpoint-io.js";
import { filePath, openFile } from "./paths.js";

const metaName = "meta.pt";

/** internal: true for a folder that a sharded strategy has written. */
export async function isShardedFolder(path: CheckpointPath): Promise<boolean> {
  return (await fileSystemOf(path).fileSystem.stat(inside(path, metaName))) !== null;
}

/**
 * Loads the folder that a sharded strategy, of this package or of Lightning Fabric in Python (FSDP, ModelParallel), has written: everything
 * whole, tensors on the CPU. States of optimizers are by the names of parameters.
 *
 *     const state = await loadShardedCheckpoint("runs/step-100.ckpt");
 */
export async function loadShardedCheckpoint(path: CheckpointPath): Promise<Record<string, unknown>> {
  const shown = shownAddress(String(path));
  if (!(await isShardedFolder(path))) {
    throw new CheckpointError(
      `Only FSDP-sharded checkpoints saved with Lightning are supported: ${shown} has no ${metaName}.`,
      {
        hint: "Give the folder that `fabric.save` wrote; a single file is read by `fabric.load`.",
      },
    );
  }
  const open = async (name: string) => {
    await checkInside(path, name);
    return await openFile(inside(path, name)).catch((cause: { code?: string }) => {
      if (cause.code !== "ENOENT") throw cause;
      throw new CheckpointError(`${shown} is damaged: its file ${name} is missing.`, {
        code: "ERR_CHECKPOINT_DAMAGED",
        hint: "Load an earlier checkpoint, or copy the whole folder again from where it came.",
        cause,
      });
    });
  };
  const sharded = await serialization.loadSharded(open, shown);
  const meta = await load(await open(metaName));
  if (typeof meta !== "object" || meta === null || Array.isArray(meta) || meta instanceof Map)
    throw new CheckpointError(`${shown} is damaged: its ${metaName} holds no dictionary.`, {
      code: "ERR_CHECKPOINT_DAMAGED",
    });
  return Object.assign(Object.create(null) as Record<string, unknown>, sharded, meta);
}

function inside(path: CheckpointPath, name: string): string {
  const folder = (schemeOf(String(path)) ?? "file") === "file" ? filePath(path) : String(path);
  return `${folder.replace(/(?<=.)\/+$/, "")}/${name}`;
}

/** Links that lead out of the folder are not followed. */
async function checkInside(path: CheckpointPath, name: string): Promise<void> {
  if ((schemeOf(String(path)) ?? "file") !== "file") return;
  const [folder, file] = await Promise.all([realpath(filePath(path)), realpath(inside(path, name)).catch(() => null)]);
  if (file === null || file.startsWith(folder + sep)) return;
  throw new CheckpointError(`${inside(path, name)} was refused: it is a link that leads out of the folder.`, {
    code: "ERR_CHECKPOINT_REFUSED",
    hint: "Put the file itself in its place.",
  });
}
