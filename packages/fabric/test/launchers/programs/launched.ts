// launched.js: a module with functions that other programs launch by name.
import type { Fabric } from "@fabric-ts/fabric";
import type { Tensor } from "@fabric-ts/torch";

/** The sum of `x` over the ranks, and what is known of the process. */
export async function addUp(fabric: Fabric, x: Tensor, more: unknown) {
  const sum = await fabric.allReduce(x, { reduceOp: "sum" });
  return { sum: sum.tolist(), more, worldSize: fabric.worldSize, args: process.argv.length };
}

export const five = 5;

export default async function fail(fabric: Fabric): Promise<void> {
  await fabric.barrier();
  throw new TypeError("by default");
}
