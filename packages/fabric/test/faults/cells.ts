// The table of the fault matrix: every fault of every rank in every phase under every launcher, and the part of it that one run takes.

/** Ways to start ranks: `node program.js`, `ddp_spawn`, `fabric run`. */
export const launchers = ["script", "spawn", "run"] as const;
/** Ways in which a rank fails: by two signals, by `process.exit(3)`, by an error that nobody catches, by a loop without an end. */
export const faults = ["SIGKILL", "SIGTERM", "exit", "throw", "loop"] as const;
/**
 * Where it fails: before it launches; while it waits for the others to come; in `setup`, `load`, the data set, `forward`; in a hook of
 * `backward` while the others wait for its gradients; blocked in the all-reduce of `backward`; between two steps; in a barrier, in `save`,
 * while the file is being written, and when the others have ended already.
 */
export const phases = [
  "start",
  "rendezvous",
  "setup",
  "load",
  "data",
  "forward",
  "backward",
  "blocked",
  "between",
  "barrier",
  "save",
  "write",
  "end",
] as const;
/** Numbers of ranks. */
export const worlds = [2, 4] as const;

export type Launcher = (typeof launchers)[number];
export type Fault = (typeof faults)[number];
export type Phase = (typeof phases)[number];

/** One cell: rank `victim` of `world` fails. */
export interface Cell {
  launcher: Launcher;
  world: number;
  victim: number;
  fault: Fault;
  phase: Phase;
}

/** All cells that can be. */
export function allCells(): Cell[] {
  const cells: Cell[] = [];
  for (const launcher of launchers) {
    for (const world of worlds) {
      for (let victim = 0; victim < world; victim++) {
        for (const phase of phases) {
          for (const fault of faults) {
            const cell = { launcher, world, victim, fault, phase };
            if (exists(cell)) cells.push(cell);
          }
        }
      }
    }
  }
  return cells;
}

/** The title of a cell. */
export function titleOf({ launcher, world, victim, fault, phase }: Cell): string {
  return `${launcher}: rank ${victim} of ${world}, ${fault} in ${phase}`;
}

function exists({ fault, phase, victim }: Cell): boolean {
  const isSignal = fault.startsWith("SIG");
  switch (phase) {
    // There the JavaScript thread waits or is blocked: only what comes from outside can happen.
    case "rendezvous":
    case "blocked":
      return isSignal;
    // Rank 0 alone writes.
    case "write":
      return isSignal && victim === 0;
    // Nobody waits for a rank that goes on alone.
    case "end":
      return fault !== "loop";
    default:
      return true;
  }
}

/** What is to come together at least once: every pair of launcher, victim, fault and phase that some cell has. */
export function pairsOf(cell: Cell): string[] {
  const facts = [
    `launcher ${cell.launcher}`,
    `victim ${cell.victim} of ${cell.world}`,
    `fault ${cell.fault}`,
    `phase ${cell.phase}`,
  ];
  return facts.flatMap((one, i) => facts.slice(i + 1).map((other) => `${one}, ${other}`));
}

/** A part of the cells in which every pair is: the one with most new pairs first, and so on. The same part every time. */
export function chosenCells(): Cell[] {
  const left = shuffled(allCells());
  const missing = new Set(left.flatMap(pairsOf));
  const chosen: Cell[] = [];
  while (missing.size > 0) {
    let best = 0;
    let bestCount = -1;
    for (const [i, cell] of left.entries()) {
      const count = pairsOf(cell).filter((pair) => missing.has(pair)).length;
      if (count > bestCount) [best, bestCount] = [i, count];
    }
    const [cell] = left.splice(best, 1) as [Cell];
    for (const pair of pairsOf(cell)) missing.delete(pair);
    chosen.push(cell);
  }
  return chosen;
}

// Without an order that would give the first of everything most often; with the same numbers every time.
function shuffled<T>(items: T[]): T[] {
  let seed = 1;
  const next = (below: number): number => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
  for (let i = items.length - 1; i > 0; i--) {
    const j = next(i + 1);
    [items[i], items[j]] = [items[j] as T, items[i] as T];
  }
  return items;
}
