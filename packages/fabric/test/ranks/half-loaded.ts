// Rank 1 refuses a checkpoint that fits on rank 0: both keep what they had. State per rank comes back to its rank.
import { join } from "node:path";
import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn } from "@fabric-ts/torch";
import { messageOf, report } from "../support/run-ranks.js";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
const rank = fabric.globalRank;
const path = join(process.env.TEST_DIRECTORY as string, "ranks.ckpt");

const filled = (value: number): nn.Linear => {
  const layer = new nn.Linear(1, 1, { bias: false });
  torch.noGrad(() => layer.weight.fill_(value));
  return layer;
};
class Own {
  readonly perRank = true;
  constructor(
    public value: number,
    readonly refuses = false,
  ) {}
  stateDict(): { value: number } {
    return { value: this.value };
  }
  loadStateDict(state: { value: number }): void {
    if (this.refuses) throw new RangeError("rank 1 refuses");
    this.value = state.value;
  }
}

const model = fabric.setup(filled(5));
await fabric.save(path, { model, own: new Own(10 + rank) });
const whole = (await fabric.load(path)) as { own: { per_rank: { value: number }[] } };
if (whole.own.per_rank.map(({ value }) => value).join() !== "10,11") throw new Error("not the state of all ranks");

const other = fabric.setup(filled(0));
const own = new Own(0);
const error = await messageOf(() => fabric.load(path, { model: other, own: rank === 1 ? new Own(0, true) : own }));
const seen = { error, weight: other.module.weight.item(), value: own.value };
await fabric.load(path, { model: other, own });
if (own.value !== 10 + rank || other.module.weight.item() !== 5) throw new Error("a rank got what is not its own");
report(rank, seen);
