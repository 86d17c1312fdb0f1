// Whether all ranks see the same files at a path.
import { existsSync, realpathSync, statSync } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { CheckpointError } from "@fabric-ts/torch";
import type { Strategy } from "../strategies/strategy.js";
import { checkOptions, describe } from "./describe.js";

const checkFile = ".lightning_shared_fs_check";

/**
 * True when all ranks see the same files at `path` (default: the current folder), as on one machine or on a network file system. Call it on
 * all ranks: rank 0 makes a file beside, and the others look for it for `timeoutMs` (default 3 s). Remote paths (`s3://...`) are shared; a path that
 * is another one on some rank is not.
 */
export async function isSharedFilesystem(
  strategy: Strategy,
  path?: string | URL | null,
  options: { timeoutMs?: number } = {},
): Promise<boolean> {
  checkOptions("isSharedFilesystem", options, ["timeoutMs"]);
  if (typeof strategy?.reduceBooleanDecision !== "function") {
    throw new TypeError(
      `Expected \`strategy\` to be a Strategy, but got ${describe(strategy)}.\nType \`isSharedFilesystem(fabric.strategy, path)\`.`,
    );
  }
  if (isRemote(path)) return true;
  const resolved = resolvePath(path ?? process.cwd());
  if (strategy.worldSize === 1) return true;
  const isSamePath = (await strategy.broadcast(resolved)) === resolved;
  if (!(await strategy.reduceBooleanDecision(isSamePath))) return false;
  if (!(await strategy.reduceBooleanDecision(existsSync(resolved)))) {
    throw new CheckpointError(
      `Unable to determine if the path belongs to a shared filesystem. The path does not exist: ${resolved}`,
      { code: "ENOENT", hint: "Make it on every machine first, or ask for the folder above it." },
    );
  }
  const folder = statSync(resolved).isDirectory() ? resolved : dirname(resolved);
  return await seesFileOfRankZero(strategy, join(folder, checkFile), options.timeoutMs ?? 3000);
}

async function seesFileOfRankZero(strategy: Strategy, file: string, timeoutMs: number): Promise<boolean> {
  await unlink(file).catch(() => {});
  await strategy.barrier();
  let found = false;
  if (strategy.isGlobalZero) {
    // A folder in which rank 0 cannot write is not known to be shared.
    found = await open(file, "w").then(
      (handle) => handle.close().then(() => true),
      () => false,
    );
  } else {
    const until = performance.now() + timeoutMs;
    for (;;) {
      found = existsSync(file);
      if (found || performance.now() >= until) break;
      await sleep(50);
    }
  }
  await strategy.barrier();
  const foundByAll = await strategy.reduceBooleanDecision(found);
  await unlink(file).catch(() => {});
  return foundByAll;
}

function isRemote(path: string | URL | null | undefined): boolean {
  const protocol = path instanceof URL ? path.protocol : /^([a-z][a-z0-9+.-]+):\/\//i.exec(path ?? "")?.[0];
  return protocol !== undefined && !protocol.toLowerCase().startsWith("file:");
}

function resolvePath(path: string | URL): string {
  const local = path instanceof URL || path.startsWith("file:") ? fileURLToPath(path) : resolve(path);
  return existsSync(local) ? realpathSync(local) : local;
}
