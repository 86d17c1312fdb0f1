// What the system tells of processes and memory. Linux only: elsewhere nothing is known.
import { readFileSync } from "node:fs";

/** internal: of a process, its state ("R", "S", "T" for stopped, ...) and its start time in clock ticks since boot; undefined when it is gone. */
export function processFacts(pid: number): { state: string; startTime: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field, the program's name, may hold blanks and parentheses.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", startTime: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}

/** internal: how many processes the kernel has killed because memory had run out; undefined when it does not say. */
export function outOfMemoryKills(): number | undefined {
  try {
    const match = /^oom_kill (\d+)$/m.exec(readFileSync("/proc/vmstat", "utf8"));
    return match ? Number(match[1]) : undefined;
  } catch {
    return undefined;
  }
}
