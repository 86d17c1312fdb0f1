// The private directory in which the ranks of one machine meet: made for one job, removed at its end, and swept by a later
// job if the launcher was killed before it could.
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigurationError } from "@fabric-ts/torch/base";
import { processFacts } from "./system-facts.js";

const prefix = "fabric-rendezvous-";
const ownerFile = "owner.json";

interface Owner {
  pid: number;
  /** Tells a process from a later one with the same number. */
  startTime: string;
  /** Numbers of another container's processes mean nothing here. */
  namespace: string;
}

/** internal: makes the directory (mode 0700) and sweeps those of launchers that are gone. Throws a `ConfigurationError` where it cannot. */
export function createRendezvousDirectory(parent = tmpdir()): string {
  sweepRendezvousDirectories(parent);
  const owner: Owner = { pid: process.pid, startTime: startTimeOf(process.pid), namespace: pidNamespace() };
  let path: string | undefined;
  try {
    path = mkdtempSync(join(parent, prefix));
    writeFileSync(join(path, ownerFile), JSON.stringify(owner), { mode: 0o600 });
    return path;
  } catch (cause) {
    if (path !== undefined) removeRendezvousDirectory(path);
    throw new ConfigurationError(
      `The private folder of this job cannot be made in ${parent}: ${(cause as Error).message}`,
      {
        hint: "Set TMPDIR to a folder that can be written to and has room.",
        cause,
      },
    );
  }
}

/** internal: removes the directory with all that is in it; one that is gone already is no error. */
export function removeRendezvousDirectory(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // A directory that cannot be removed now is swept by the next job.
  }
}

/** internal: removes this user's rendezvous directories whose launcher does not run any more. */
export function sweepRendezvousDirectories(parent = tmpdir()): void {
  let names: string[];
  try {
    names = readdirSync(parent);
  } catch {
    return;
  }
  for (const name of names) {
    if (name.startsWith(prefix) && isAbandoned(join(parent, name))) removeRendezvousDirectory(join(parent, name));
  }
}

function isAbandoned(path: string): boolean {
  try {
    const status = lstatSync(path);
    if (!status.isDirectory() || status.uid !== process.getuid?.()) return false;
    const owner = JSON.parse(readFileSync(join(path, ownerFile), "utf8")) as Owner;
    if (!Number.isInteger(owner.pid) || owner.namespace !== pidNamespace()) return false;
    return startTimeOf(owner.pid) !== owner.startTime;
  } catch {
    // Being made or removed by somebody else at this moment.
    return false;
  }
}

/** Start time of a process in clock ticks since boot; "" for a process that is not there. Without /proc: "running". */
function startTimeOf(pid: number): string {
  const facts = processFacts(pid);
  if (facts) return facts.startTime;
  if (process.platform === "linux") return "";
  try {
    process.kill(pid, 0);
    return "running";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "running" : "";
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
