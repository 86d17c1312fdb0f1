// Checkpoints of which only what is used is read.
import { CheckpointError, nn, serialization } from "@fabric-ts/torch";
import { shownAddress } from "../filesystems/address.js";
import type { FileReader } from "../filesystems/file-system.js";
import { describe } from "../utilities/describe.js";
import type { CheckpointPath } from "./checkpoint-io.js";
import { openFile } from "./paths.js";
import { isStateful } from "./state.js";

export const { materializeTensors } = serialization;

/**
 * Loads a checkpoint of any file system, except for the elements of its tensors: each tensor is read when it is used for the first time.
 * Before, it knows its `dtype`, `shape` and the like. Tensors that are not on this machine cannot be waited for by an operator:
 * `await materializeTensors(...)` reads them.
 *
 *     const checkpoint = (await lazyLoad("large.ckpt")) as { model: nn.StateDict };
 *     model.loadStateDict(checkpoint.model); // reads one after another
 */
export async function lazyLoad(path: CheckpointPath): Promise<unknown> {
  let file: FileReader;
  try {
    file = await openFile(path);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "ENOENT" && code !== "EISDIR") throw error;
    throw new CheckpointError(`Path '${shownAddress(String(path))}' does not exist or is not a file.`, {
      code,
      hint: "Check the path; relative ones start at the working directory.",
      cause: error,
    });
  }
  return await serialization.lazyLoad(file);
}

/**
 * Takes entries out of `source`, all or those of `keys` that it has, and puts them into `destination`: by `loadStateDict` where there is an
 * object that has it, else in the place of what is there.
 */
export function moveStateInto(source: object, destination: object, keys?: Iterable<string>): void {
  for (const value of [source, destination]) {
    if (typeof value !== "object" || value === null) {
      throw new TypeError(
        `Expected \`moveStateInto\` to be given two objects, but got ${describe(value)}.\nType \`moveStateInto(checkpoint, { model, step })\`.`,
      );
    }
  }
  const from = source as Record<string, unknown>;
  const to = destination as Record<string, unknown>;
  for (const key of keys === undefined ? Object.keys(from) : new Set(keys)) {
    if (!Object.hasOwn(from, key)) continue;
    const value = from[key];
    const target = to[key];
    if (target instanceof nn.Module || isStateful(target)) target.loadStateDict(value as never);
    else Object.defineProperty(to, key, { value, writable: true, enumerable: true, configurable: true });
    delete from[key];
  }
}
