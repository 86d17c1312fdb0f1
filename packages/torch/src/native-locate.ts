// Where the built addons lie. It only reads what `npm run setup` left in build/current.json; it loads nothing.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { NotSupportedError } from "./errors.js";

/** internal: what `npm run setup` recorded about the build in use. */
export interface CurrentBuild {
  /** Name of the build folder: LibTorch version, platform and a hash of the rest that tells builds apart. */
  key: string;
  /** The addon with LibTorch behind it, absolute. */
  addon: string;
  /** The small addon without LibTorch, absolute; null when it was not built. */
  process: string | null;
  /** Version of the LibTorch that it was built for, such as "2.6.0". */
  torch: string;
  /** Installation prefix of that LibTorch. */
  root: string;
  /** Whether it is one with CUDA; older records do not say. */
  cuda?: boolean;
}

const buildFolder = join(dirname(dirname(fileURLToPath(import.meta.url))), "build");

/** internal: the build in use. Throws a `NotSupportedError` when there is none. */
export function currentBuild(): CurrentBuild {
  let text: string;
  try {
    text = readFileSync(join(buildFolder, "current.json"), "utf8");
  } catch (cause) {
    throw notBuilt(`there is no ${join(buildFolder, "current.json")}`, cause);
  }
  let found: CurrentBuild;
  try {
    found = JSON.parse(text) as CurrentBuild;
  } catch (cause) {
    throw notBuilt(`${join(buildFolder, "current.json")} is damaged`, cause);
  }
  return {
    ...found,
    addon: join(buildFolder, found.addon),
    process: found.process === null ? null : join(buildFolder, found.process),
  };
}

/** internal: path of the addon that holds LibTorch. Throws a `NotSupportedError` when it has not been built. */
export function locateAddon(): string {
  const { addon } = currentBuild();
  if (!existsSync(addon)) throw notBuilt(`${addon} is missing`);
  return addon;
}

/** internal: path of the small addon for supervising processes. Throws a `NotSupportedError` when it has not been built. */
export function locateProcessAddon(): string {
  const { process: addon } = currentBuild();
  if (addon === null || !existsSync(addon)) throw notBuilt(`${addon ?? "fabric_process.node"} is missing`);
  return addon;
}

function notBuilt(what: string, cause?: unknown): NotSupportedError {
  return new NotSupportedError(`The native addon has not been built: ${what}.`, {
    code: "ERR_ADDON",
    hint: "Run `npm run setup` in the repository.",
    cause,
  });
}
