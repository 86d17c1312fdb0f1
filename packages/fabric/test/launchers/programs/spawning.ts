// spawning.js: functions in processes of their own, one after the other; only the launching process reports.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AsyncCheckpointIO, CheckpointIO, Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";

const isRank = process.env.LOCAL_RANK !== undefined;
const report = (name: string, value: unknown): void => {
  if (!isRank) console.log(`REPORT ${name} ${JSON.stringify(value)}`);
};
const messageOf = async (launched: Promise<unknown>): Promise<string> =>
  launched.then(
    () => "no error",
    (error: Error) => error.message,
  );

class Tied extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(2, 2, { bias: false });
  second = new nn.Linear(2, 2, { bias: false });
  constructor() {
    super();
    this.second.weight = this.first.weight;
  }
  forward(x: Tensor): Tensor {
    return this.second(this.first(x));
  }
}

const fabric = new Fabric({ accelerator: "cpu", devices: 2, strategy: "ddp_spawn" });
torch.manualSeed(7);
const model = new Tied();
const optimizer = new optim.SGD(model.parameters(), { lr: isRank ? 9 : 0.5 });
// What only the launching process has done arrives with the arguments and the state of the random numbers.
if (!isRank) {
  torch.noGrad(() => model.first.weight.fill_(3));
  torch.randn([5]);
}

interface Hints {
  when: Date;
  notes: Map<string, bigint>;
}

async function train(own: Fabric, net: Tied, sgd: optim.SGD, x: Tensor, hints: Hints) {
  const draw = torch.rand([1]).item();
  const start = net.first.weight.tolist();
  const rate = sgd.paramGroups[0]?.lr;
  const [wrapped, wrappedOptimizer] = own.setup(net, sgd);
  own.backward(wrapped(x.add(own.globalRank)).sum());
  wrappedOptimizer.step();
  const ranks = await own.allGather(own.globalRank);
  return {
    rank: own.globalRank,
    localRank: process.env.LOCAL_RANK,
    port: process.env.MASTER_PORT,
    threads: process.env.OMP_NUM_THREADS,
    ranks: ranks.tolist(),
    draw,
    start,
    rate,
    isOwn: net === model,
    isTied: net.first.weight === net.second.weight,
    weight: net.first.weight.detach(),
    hints,
  };
}

const x = torch.ones([2]);
const hints = { when: new Date(5), notes: new Map([["a", 1n]]) };
const result = await fabric.launch(train, model, optimizer, x, hints);
const { weight, hints: back, ...rest } = result;
report("first", {
  ...rest,
  isTensor: weight instanceof torch.Tensor,
  changed: !torch.equal(weight, model.first.weight),
  here: model.first.weight.tolist(),
  draw: rest.draw === torch.rand([1]).item(),
  hints: back.when instanceof Date && back.notes.get("a") === 1n,
  isRank: process.env.LOCAL_RANK !== undefined,
});

// An error of a rank is an error of the call, here and wherever the ranks of later calls come by.
let caught: (Error & { code?: string; cause?: unknown }) | undefined;
try {
  await fabric.launch(async (own) => {
    await own.barrier();
    if (own.globalRank === 1) throw Object.assign(new RangeError("only on rank 1"), { code: "E_OWN" });
    await own.barrier();
  });
} catch (error) {
  caught = error as typeof caught;
}
const cause = caught?.cause as (Error & { code?: string }) | undefined;
report("failed", {
  name: caught?.name,
  code: caught?.code,
  message: caught?.message,
  cause: [cause?.constructor.name, cause?.message, cause?.code, /spawning\.[jt]s/.test(cause?.stack ?? "")],
});

const second = await fabric.launch((own, before: unknown) => [own.globalRank, before, caught?.name], result.ranks);
report("second", second);

class Slow extends CheckpointIO {
  override async saveCheckpoint(_checkpoint: Record<string, unknown>, path: string | URL): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (path === "full") throw new Error("disk full");
    writeFileSync(path, "");
  }
  override async loadCheckpoint(): Promise<unknown> {
    return {};
  }
  override async removeCheckpoint(): Promise<void> {}
}
async function saveInBackground(own: Fabric, path: string): Promise<string> {
  if (own.isGlobalZero) await new AsyncCheckpointIO(new Slow()).saveCheckpoint({}, path);
  return "saved";
}
const folder = isRank ? "" : mkdtempSync(join(tmpdir(), "fabric-launch-test-"));
const path = join(folder, "x");
report("background", {
  written: [await fabric.launch(saveInBackground, path), existsSync(path)],
  failed: await messageOf(fabric.launch(saveInBackground, "full")),
});
if (!isRank) rmSync(folder, { recursive: true });

report("refused", [
  await messageOf(
    fabric.launch(
      (_own, _fn: () => void) => {},
      () => {},
    ),
  ),
  await messageOf(fabric.launch((_own, _options: object) => {}, { layers: [1, fabric] })),
  await messageOf(fabric.launch(() => {})),
  await messageOf(fabric.launch()),
]);
report("left", await messageOf(fabric.launch(async (_own, code: number) => process.exit(code), 0)));
report("lost", await messageOf(fabric.launch(async (_own) => process.kill(process.pid, "SIGKILL"))));
report("unsent", await messageOf(fabric.launch((_own) => () => 1)));
