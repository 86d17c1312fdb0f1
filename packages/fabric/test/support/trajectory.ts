// Runs the trajectories of benchmarks/ in processes of their own, in JavaScript and in Python, and says where two of them part.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { versions } from "@fabric-ts/torch";
import { cleanEnvironment } from "./run-ranks.js";

/** What one rank saw: bits of the losses, hashes of everything else. */
export interface Trajectory {
  first_batch: Record<string, string>;
  steps: Record<string, string | number>[];
  params: Record<string, string>[];
}

/** The kernels with which the golden files were made: they exist on every x86-64 machine of the last ten years. */
export const goldenKernels = {
  OPENBLAS_CORETYPE: "Haswell",
  ATEN_CPU_CAPABILITY: "avx2",
  DNNL_MAX_CPU_ISA: "AVX2",
};

const python = process.env.FABRIC_PYTHON ?? "/usr/bin/python3";
const benchmarks = new URL("../../../../benchmarks/", import.meta.url);
const minor = (version: string): string => version.split(".").slice(0, 2).join(".");

/** True when the golden files' numbers are those of the engine that is loaded. */
export const goldenHolds = minor(versions().torch) === "1.13";

/** Why Python cannot tell what is right here, or false. */
export const noPeer: string | false = (() => {
  const ours = minor(versions().torch);
  const run = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], { encoding: "utf8" });
  if (run.status !== 0) return `${python} cannot import torch; on Debian: apt-get install python3-torch`;
  const theirs = minor(run.stdout.trim());
  return theirs === ours ? false : `${python} has torch ${theirs}, the engine is LibTorch ${ours}`;
})();

/** Runs trajectory.js; one result a rank. */
export function runOurs(args: readonly string[], kernels: Record<string, string> = {}): Trajectory[] {
  return collect(process.execPath, [fileURLToPath(new URL("dist/trajectory.js", benchmarks)), ...args], kernels);
}

/** Runs trajectory.py; one result a rank. */
export function runPython(args: readonly string[], kernels: Record<string, string> = {}): Trajectory[] {
  return collect(python, [fileURLToPath(new URL("trajectory.py", benchmarks)), ...args], kernels);
}

/** What a golden file holds, in the form of the trajectories; one result a rank. */
export function readGolden(name: string): Trajectory[] {
  const file = JSON.parse(readFileSync(new URL(`../../test/golden/${name}.json`, import.meta.url), "utf8")) as Golden;
  const ranks = file.steps ? [file as GoldenRank] : [file["rank 0"], file["rank 1"]];
  return ranks.map((rank) => {
    assert.ok(rank);
    return {
      first_batch: hashes(rank.first_batch),
      steps: rank.steps.map(({ loss, grad_norm, ...rest }) => ({
        ...rest,
        loss: loss.bits,
        ...(grad_norm && { grad_norm: grad_norm.bits }),
      })),
      params: rank.params.map((parameter) => ({ name: parameter.name as string, ...hashes(parameter) })),
    };
  });
}

/** Where two runs part first, in words, or null. What only the first of them holds is not compared. */
export function difference(ours: readonly Trajectory[], expected: readonly Trajectory[]): string | null {
  if (ours.length !== expected.length) return `${ours.length} ranks reported, ${expected.length} were expected`;
  for (const [rank, trajectory] of expected.entries()) {
    const found = rankDifference(ours[rank] as Trajectory, trajectory);
    if (found !== null) return expected.length > 1 ? `rank ${rank}: ${found}` : found;
  }
  return null;
}

/** The largest relative distance between the losses of two runs on the same batches, or null for other batches. */
export function lossDistance(ours: readonly Trajectory[], expected: readonly Trajectory[]): number | null {
  let distance = 0;
  for (const [rank, trajectory] of expected.entries()) {
    for (const [i, step] of trajectory.steps.entries()) {
      const other = ours[rank]?.steps[i];
      if (other?.x_sha256 !== step.x_sha256 || other?.y_sha256 !== step.y_sha256) return null;
      const value = float(step.loss as string);
      distance = Math.max(distance, Math.abs(float(other.loss as string) - value) / Math.abs(value));
    }
  }
  return distance;
}

interface GoldenRank {
  first_batch: Record<string, unknown>;
  steps: { step: number; loss: { bits: string }; grad_norm?: { bits: string }; x_sha256: string; y_sha256: string }[];
  params: Record<string, unknown>[];
}
type Golden = Partial<GoldenRank> & { "rank 0"?: GoldenRank; "rank 1"?: GoldenRank };

function hashes(entries: Record<string, unknown>): Record<string, string> {
  const kept = Object.entries(entries).filter(([key]) => key.includes("sha256"));
  // The gradients of a clipped run are those after clipping in every file; only the golden ones say so.
  return Object.fromEntries(kept.map(([key, value]) => [key.replace("_after_clip", ""), value as string]));
}

function rankDifference(ours: Trajectory, expected: Trajectory): string | null {
  const names = (trajectory: Trajectory): string => trajectory.params.map(({ name }) => name).join(", ");
  if (names(ours) !== names(expected)) return `the parameters are ${names(ours)} instead of ${names(expected)}`;
  const parted = (key: string): string | null => {
    const differing = expected.params.filter((parameter, i) => parameter[key] !== ours.params[i]?.[key]);
    return differing.length === 0 ? null : `${key} differs for ${differing.map(({ name }) => name).join(", ")}`;
  };
  const initial = parted("sha256_init");
  if (initial !== null) return initial;
  for (const [key, hash] of Object.entries(expected.first_batch)) {
    if (ours.first_batch[key] !== hash) return `${key} of the first batch differs`;
  }
  for (const [i, step] of expected.steps.entries()) {
    const found = ours.steps[i];
    if (found === undefined) return `there is no step ${i}`;
    for (const key of ["x_sha256", "y_sha256", "loss", "grad_norm"]) {
      if (found[key] !== step[key])
        return `step ${i}: ${key} is ${spelled(key, found[key])} instead of ${spelled(key, step[key])}`;
    }
    if (i > 0) continue;
    const gradients = parted("sha256_grad_step0") ?? parted("sha256_after_step0");
    if (gradients !== null) return `step 0: ${gradients}`;
  }
  if (ours.steps.length !== expected.steps.length) return `there are ${ours.steps.length} steps`;
  return parted("sha256_after_step19");
}

function float(bits: string): number {
  return Buffer.from(bits, "hex").readFloatBE();
}

function spelled(key: string, value: string | number | undefined): string {
  return typeof value === "string" && !key.includes("sha256") ? `${value} (${float(value)})` : String(value);
}

function collect(program: string, args: readonly string[], kernels: Record<string, string>): Trajectory[] {
  const run = spawnSync(program, args, {
    encoding: "utf8",
    env: { ...cleanEnvironment(), OMP_NUM_THREADS: "1", ...kernels },
    maxBuffer: 1 << 26,
  });
  assert.equal(
    run.status,
    0,
    `${program} ${args.join(" ")} ended with ${run.status ?? run.signal}\n${run.stdout}\n${run.stderr}`,
  );
  const lines = run.stdout.split("\n").filter((line) => line.startsWith("{"));
  const reports = lines.map((line) => JSON.parse(line) as Trajectory & { rank: number });
  return reports.sort((a, b) => a.rank - b.rank);
}
