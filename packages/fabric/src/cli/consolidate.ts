// `fabric consolidate`: a folder that a sharded strategy has written, as one file.
import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { CheckpointError } from "@fabric-ts/torch/base";
import type { Command } from "commander";
import { usageError } from "./usage.js";

/** internal: converts `folder` to one file. Throws a `FabricError` where that is not possible. */
export async function consolidate(command: Command, folder: string, output?: string): Promise<void> {
  if (!existsSync(folder)) {
    usageError(command, `Invalid value for 'CHECKPOINT_FOLDER': Path '${folder}' does not exist.`);
  }
  const paths = checkPaths(folder, output);
  // Loaded now: the engine takes longer to start than a mistake in the paths to be found.
  const [{ loadShardedCheckpoint }, { TorchCheckpointIO }] = await Promise.all([
    import("../checkpoint/sharded.js"),
    import("../checkpoint/torch-checkpoint-io.js"),
  ]);
  await new TorchCheckpointIO().saveStableCheckpoint(await loadShardedCheckpoint(paths.folder), paths.output);
  process.stdout.write(`Wrote ${paths.output}\n`);
}

/** internal: the absolute paths, when they make sense. */
export function checkPaths(folder: string, output?: string): { folder: string; output: string } {
  const from = resolve(folder);
  if (!statSync(from).isDirectory()) {
    throw new CheckpointError(`The checkpoint path must be a folder: ${folder}`, {
      code: "ENOTDIR",
      hint: "A single file needs no conversion: `fabric.load` reads it.",
    });
  }
  if (!existsSync(join(from, "meta.pt"))) {
    throw new CheckpointError(
      `Only FSDP-sharded checkpoints saved with Lightning are supported: ${folder} has no meta.pt.`,
      {
        hint: "Give the folder that `fabric.save` wrote, not one inside of it or around it.",
      },
    );
  }
  const to = resolve(output ?? `${from}.consolidated`);
  if (existsSync(to)) {
    throw new CheckpointError(`The path for the converted checkpoint already exists: ${to}`, {
      code: "EEXIST",
      hint: "Provide another one with --output_file, or remove it.",
    });
  }
  return { folder: from, output: to };
}
