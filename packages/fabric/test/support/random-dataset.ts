// A dataset whose samples are numbers that the loader's workers draw.
import * as torch from "@fabric-ts/torch";
import { data } from "@fabric-ts/torch";

/** Four samples: a number of the engine and one of `Math.random`. */
export class Drawn extends data.Dataset<[number, number]> {
  get length(): number {
    return 4;
  }
  get(): [number, number] {
    return [torch.rand([1]).item(), Math.random()];
  }
}

/** A `workerInitFn` of the user's. */
export function ownInit(workerId: number): void {
  torch.manualSeed(workerId);
}
