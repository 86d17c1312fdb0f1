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
  /** Empty libraries that keep others out which LibTorch names but never calls; older records do not say. */
  standIns?: StandIns | { reason: string };
}

/** internal: stand-ins for libraries, or the reason why there are none in their place. */
export interface StandIns {
  /** The addon that loads them, absolute. */
  file: string;
  /** The libraries that they stand for. */
  names: string[];
  /** How many libraries are in a process without them, and with them. */
  without: number;
  with: number;
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
  const { standIns } = found;
  return {
    ...found,
    addon: join(buildFolder, found.addon),
    process: found.process === null ? null : join(buildFolder, found.process),
    ...(standIns && "file" in standIns ? { standIns: { ...standIns, file: join(buildFolder, standIns.file) } } : {}),
  };
}

/**
 * internal: paths of the addon that holds LibTorch and of the one to be loaded before it, unless FABRIC_FULL_LIBTORCH is 1. Throws a
 * `NotSupportedError` when it has not been built. FABRIC_TORCH_ADDON is the path of another build, such as one with a sanitizer.
 */
export function locateAddon(): { addon: string; standIns: string | null } {
  const { addon: current, standIns } = currentBuild();
  const addon = process.env.FABRIC_TORCH_ADDON || current;
  if (!existsSync(addon)) throw notBuilt(`${addon} is missing`);
  const isWanted = standIns && "file" in standIns && process.env.FABRIC_FULL_LIBTORCH !== "1";
  return { addon, standIns: isWanted && existsSync(standIns.file) ? standIns.file : null };
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
