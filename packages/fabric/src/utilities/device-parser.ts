// What `devices` means: a number of processes for the CPU; a count, ids or text for GPUs.
import { ConfigurationError } from "@fabric-ts/torch/base";
import { describe } from "./describe.js";

/** internal: the number of processes on the CPU, from a number or a text of digits. */
export function parseCpuCores(devices: unknown): number {
  const count = typeof devices === "string" && /^\s*\d+\s*$/.test(devices) ? Number(devices) : devices;
  if (typeof count !== "number" || !Number.isInteger(count) || count <= 0) {
    throw new TypeError(
      `\`devices\` selected with the CPU accelerator should be an int > 0, got ${describe(devices)}.`,
    );
  }
  return count;
}

/**
 * internal: the ids of the GPUs that the user asked for, or null for none. A number is a count, -1 all of them, a list the ids;
 * a text is a count (`"3"`), or ids when it has a comma (`"3,"`, `"0, 2"`).
 */
export function parseGpuIds(
  devices: unknown,
  available: readonly number[],
  env: NodeJS.ProcessEnv = process.env,
): number[] | null {
  checkType(devices);
  if (devices === 0 || (typeof devices === "string" && ["0", "[]"].includes(devices.trim()))) return null;
  const wanted = typeof devices === "string" ? parseText(devices) : (devices as number | number[]);
  const ids = normalise(wanted, available);
  if (ids.length === 0) {
    throw new ConfigurationError("GPUs requested but none are available.", { hint: 'Use `accelerator: "cpu"`.' });
  }
  // Under torchelastic each process may see one GPU of several.
  if (env.TORCHELASTIC_RUN_ID !== undefined && ids.length !== 1 && available.length === 1) return ids;
  if (new Set(ids).size !== ids.length) {
    throw new ConfigurationError(`Device ID's (GPU) must be unique, got ${describe(ids)}.`);
  }
  if (ids.some((id) => !available.includes(id))) {
    throw new ConfigurationError(
      `You requested gpu: ${describe(ids)}\nBut your machine only has: ${describe([...available])}.`,
    );
  }
  return ids;
}

function checkType(devices: unknown): void {
  const isInt = (value: unknown): boolean => typeof value === "number" && Number.isInteger(value);
  if (isInt(devices) || typeof devices === "string") return;
  if (Array.isArray(devices) && devices.every(isInt)) return;
  throw new TypeError(
    `Device IDs (GPU/TPU) must be an int, a string, a sequence of ints, but you passed ${describe(devices)}.`,
  );
}

function parseText(text: string): number | number[] {
  const number = (piece: string): number => {
    if (!/^\s*-?\d+\s*$/.test(piece)) {
      throw new ConfigurationError(`\`devices: ${describe(text)}\` is neither a count nor a list of ids.`, {
        hint: 'Type for example "2" for two GPUs, "0,2" for the first and the third, "-1" for all.',
      });
    }
    return Number(piece);
  };
  if (!text.includes(",")) return number(text);
  return text
    .split(",")
    .filter((piece) => piece.trim() !== "")
    .map(number);
}

function normalise(wanted: number | readonly number[], available: readonly number[]): number[] {
  if (typeof wanted !== "number") return [...wanted];
  if (wanted === -1) return [...available];
  return Array.from({ length: Math.max(0, wanted) }, (_, i) => i);
}
