// The states of the random number generators, to go on drawing where a run stopped.
import { cuda, getRngState, setRngState, Tensor } from "@fabric-ts/torch";
import type { PerRankStateful } from "../checkpoint/per-rank.js";
import { describe } from "./describe.js";

/** The generators' states under the names that Lightning saves them by. */
export interface RngStates {
  /** Of the CPU's generator. */
  torch: Tensor;
  /** Of each CUDA device's; empty without CUDA. */
  "torch.cuda"?: Tensor[];
}

/** The states of the engine's default generators: the CPU's and, unless `includeCuda` is false, those of all CUDA devices. */
export function collectRngStates(options: { includeCuda?: boolean } = {}): RngStates {
  const states: RngStates = { torch: getRngState() };
  if (options.includeCuda ?? true) states["torch.cuda"] = cudaStates();
  return states;
}

/** Sets the generators to states that `collectRngStates` gave. States of other libraries (`python`, `numpy`) are left alone. */
export function setRngStates(states: RngStates): void {
  const { torch, "torch.cuda": devices = [] } = states;
  if (!(torch instanceof Tensor)) {
    throw new TypeError(
      `Expected the entry "torch" of the states to be a Tensor, but got ${describe(torch)}.\nPass what \`collectRngStates()\` returned.`,
    );
  }
  setRngState(torch);
  if (!hasCuda()) return;
  for (const [index, state] of devices.slice(0, cuda.deviceCount()).entries()) setRngState(state, `cuda:${index}`);
}

/**
 * The random number generators as a part of a checkpoint: `await fabric.save(path, { model, optimizer, rng: new RngState() })` saves those of
 * every rank, and loading gives each rank its own back.
 */
export class RngState implements PerRankStateful {
  readonly perRank = true;

  stateDict(): Record<string, unknown> {
    return { ...collectRngStates() };
  }
  loadStateDict(state: Record<string, unknown>): void {
    setRngStates(state as unknown as RngStates);
  }
}

function cudaStates(): Tensor[] {
  if (!hasCuda()) return [];
  return Array.from({ length: cuda.deviceCount() }, (_, index) => getRngState(`cuda:${index}`));
}

/** A driver that does not start is no reason to lose the CPU's state. */
function hasCuda(): boolean {
  try {
    return cuda.isAvailable();
  } catch {
    return false;
  }
}
