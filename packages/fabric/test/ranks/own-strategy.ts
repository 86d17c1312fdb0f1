// Two processes with strategies that the user wrote.
import { DDPStrategy, Fabric, ParallelStrategy, ScriptLauncher } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data, distributed, nn } from "@fabric-ts/torch";
import { report } from "../support/run-ranks.js";

/** The least that several processes need: a launcher, a group, and a place for models. */
class Bare extends ParallelStrategy {
  override configureLauncher(): void {
    if (this.clusterEnvironment === null) throw new Error("Fabric gives the environment");
    this.launcher = new ScriptLauncher(this.clusterEnvironment, this.numProcesses, this.numNodes);
  }
  override async setupEnvironment(): Promise<void> {
    await super.setupEnvironment();
    this.setWorldRanks();
    const { globalRank: rank, worldSize } = this;
    const store = new distributed.FileStore(`${process.env.FABRIC_RENDEZVOUS_FILE}-own`, worldSize);
    await distributed.initProcessGroup({ rank, worldSize, store });
  }
  override moduleToDevice(module: nn.AnyModule): void {
    module.to(this.rootDevice);
  }
}

/** DDP that notes each model. */
class Noting extends DDPStrategy {
  wraps = 0;
  override setupModule(module: nn.AnyModule): nn.AnyModule {
    this.wraps++;
    return super.setupModule(module);
  }
}

const fabric = new Fabric({ accelerator: "cpu", devices: 2, strategy: new Bare() });
await fabric.launch();
const rank = fabric.globalRank;
const sum = (await fabric.allReduce(rank + 1, { reduceOp: "sum" })).item();
const sampler = fabric.setupDataLoaders(new data.DataLoader([1, 2, 3, 4])).length;

const strategy = new Noting();
const ddp = new Fabric({ accelerator: "cpu", devices: 2, strategy });
await ddp.launch();
const model = ddp.setup(new nn.Linear(2, 1));
ddp.backward(model(torch.full([2], rank + 1, { dtype: "float32" })).sum());

report(rank, {
  rank,
  world: fabric.worldSize,
  device: fabric.device,
  sum,
  sampler,
  ddp: { wraps: strategy.wraps, gradient: model.weight.grad?.tolist() },
});
