// Where a process listens, read from /proc (Linux): no tool has to be installed for it. Fabric's tests import it, too.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Addresses, in the hexadecimal of /proc/net, at which the process listens on TCP. */
export function listenersOf(pid: number): string[] {
  const inodes = new Set<string | undefined>();
  for (const fd of openFiles(pid)) {
    try {
      inodes.add(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1]);
    } catch {
      // Closed meanwhile.
    }
  }
  return ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) =>
    readFileSync(table, "utf8")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === "0A" && inodes.has(fields[9]))
      .map((fields) => fields[1]?.split(":")[0] ?? ""),
  );
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    // The process ended meanwhile.
    return [];
  }
}

/** True for 127.0.0.1, ::1 and ::ffff:127.0.0.1 as /proc/net writes them. */
export function isLoopback(address: string): boolean {
  return ["0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"].includes(address);
}
