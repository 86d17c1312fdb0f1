// The half of group.ts that runs in every rank: joins the group, runs the case that was asked for, reports its value.
import { distributed } from "@fabric-ts/torch";

/** What a case knows of its place. */
export interface Place<Args> {
  rank: number;
  worldSize: number;
  args: Args;
}

/** A test body that runs on every rank and returns something JSON can hold. */
export type Case = (place: Place<never>) => unknown;

/** Runs the case named on the command line. The group is set up before and torn down after, unless `bare` cases do that. */
export async function runCase(cases: Record<string, Case>, bare: Record<string, Case> = {}): Promise<void> {
  const name = process.argv[2] ?? "";
  const rank = Number(process.env.RANK);
  const worldSize = Number(process.env.WORLD_SIZE);
  const args = JSON.parse(process.env.TEST_ARGS ?? "null") as never;
  const body = cases[name] ?? bare[name];
  if (!body) throw new Error(`there is no case ${name}`);
  if (cases[name])
    await distributed.initProcessGroup({ rank, worldSize, store: groupStore(worldSize), timeoutMs: 30_000 });
  const value = await body({ rank, worldSize, args });
  process.stdout.write(`=${JSON.stringify(value ?? null)}\n`);
  if (distributed.isInitialized()) distributed.destroyProcessGroup();
}

/** The store of the group under test. */
export function groupStore(worldSize: number): distributed.FileStore {
  return new distributed.FileStore(process.env.TEST_STORE ?? "", worldSize);
}

/** Tells the test something while the case runs. */
export function signal(text: string): void {
  process.stdout.write(`@${text}\n`);
}

/** An error as JSON. */
export function errorFacts(error: unknown): { name: string; code: string; message: string; stack: string } {
  const { name, code, message, stack } = error as { name: string; code: string; message: string; stack: string };
  return { name, code, message, stack };
}

/** What a call throws or rejects with, as JSON; null when it succeeds. */
export async function failure(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return null;
  } catch (error) {
    return errorFacts(error);
  }
}
