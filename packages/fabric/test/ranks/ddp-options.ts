// Two processes train the same model with strategies of different options; the test compares the weights.
import { DDPStrategy, type DDPStrategyOptions, Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";
import { messageOf, report } from "../support/run-ranks.js";

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(40, 64);
  second = new nn.Linear(64, 4);
  forward(x: Tensor): Tensor {
    return this.second(torch.relu(this.first(x)));
  }
}

/** The options are the same on all ranks but for `initSync`, which is about ranks that start apart. */
const variants: Record<string, DDPStrategyOptions> = {
  plain: {},
  views: { gradientAsBucketView: true },
  fixed: { staticGraph: true },
  unused: { findUnusedParameters: true },
  small: { bucketCapMb: 0.0009 },
  fp16: { ddpCommHook: nn.parallel.fp16CompressHook },
  bf16: { ddpCommHook: nn.parallel.bf16CompressHook },
  own: {
    ddpCommHook: (state: { divisor: number }, bucket) =>
      bucket.allReduce(bucket.buffer()).map((sum) => sum.div_(state.divisor)),
    ddpCommState: { divisor: 2 },
  },
  powerSGD: {
    ddpCommHook: nn.parallel.powerSGDHook,
    ddpCommState: () => new nn.parallel.PowerSGDState({ startPowerSGDIter: 2, matrixApproximationRank: 4 }),
    ddpCommWrapper: nn.parallel.bf16CompressWrapper,
  },
};

async function start(options: DDPStrategyOptions): Promise<Fabric> {
  const fabric = new Fabric({ accelerator: "cpu", devices: 2, strategy: new DDPStrategy(options) });
  await fabric.launch();
  return fabric;
}

const weights: Record<string, number[]> = {};
let fabric = await start({ timeoutMs: 60_000, processGroupBackend: "gloo", startMethod: "popen" });
const rank = fabric.globalRank;
for (const [name, options] of Object.entries(variants)) {
  fabric = await start(options);
  torch.manualSeed(7);
  const raw = new Net();
  const [model, optimizer] = fabric.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.05 }));
  for (let step = 0; step < 6; step++) {
    torch.manualSeed(10 * step + rank);
    optimizer.zeroGrad();
    fabric.backward(
      model(torch.randn([8, 40]))
        .pow(2)
        .mean(),
    );
    optimizer.step();
  }
  weights[name] = raw.parameters().flatMap((p) => p.detach().flatten().tolist() as number[]);
}

// Without the first copy every rank keeps what it began with.
torch.manualSeed(rank);
const apart = (await start({ initSync: false })).setup(new nn.Linear(2, 1)).module.weight.tolist();
torch.manualSeed(rank);
const together = (await start({})).setup(new nn.Linear(2, 1)).module.weight.tolist();

/** A running mean that differs between the ranks, after a second pass in training. */
async function runningMean(broadcastBuffers: boolean): Promise<unknown> {
  const mine = await start({ broadcastBuffers });
  const norm = new nn.BatchNorm1d(2);
  const model = mine.setup(new nn.Sequential(norm, new nn.Linear(2, 1)));
  for (let step = 0; step < 2; step++) {
    mine.backward(
      model(
        torch.tensor([
          [rank, 1.5],
          [rank + 2.5, 4],
        ]),
      ).sum(),
    );
  }
  return norm.runningMean?.tolist();
}

// Each rank is a group of its own: nothing is averaged, not even the first weights.
const groups = [await torch.distributed.newGroup([0]), await torch.distributed.newGroup([1])];
const processGroup = groups[rank] as torch.distributed.ProcessGroup;
torch.manualSeed(rank);
const alone = (await start({ processGroup })).setup(new nn.Linear(2, 1, { bias: false }));
const firstWeights = alone.module.weight.tolist();
fabric.backward(alone(torch.full([1, 2], rank + 1.5)).sum());
const inGroups = { firstWeights, gradients: alone.module.weight.grad?.tolist() };

// A hook on the module that the strategy made: the sum of both ranks in place of their mean.
const hooked = (await start({})).setup(new nn.Linear(1, 1, { bias: false }));
const inner = hooked._forwardModule;
if (inner instanceof nn.parallel.DistributedDataParallel)
  inner.registerCommHook(null, (_state, bucket) => bucket.allReduce(bucket.buffer()));
fabric.backward(hooked(torch.full([1, 1], rank + 1, { dtype: "float32" })).sum());

/** Gradients of a pass that is in the context in part, or as a whole, and of one after it. */
async function localGradients(): Promise<unknown> {
  const mine = await start({});
  const model = mine.setup(new nn.Linear(1, 1, { bias: false }));
  const x = torch.full([1, 1], rank + 1, { dtype: "float32" });
  const gradient = (): unknown => model.module.weight.grad?.tolist();
  const loss = model(x).sum();
  mine.noBackwardSync(model, () => mine.backward(loss));
  const backwardOnly = gradient();
  model.zeroGrad();
  mine.noBackwardSync(model, { enabled: false }, () => mine.backward(model(x).sum()));
  const disabled = gradient();
  model.zeroGrad();
  mine.noBackwardSync(model, () => mine.backward(model(x).sum()));
  const both = gradient();
  mine.backward(model(x).sum());
  return { backwardOnly, disabled, both, next: gradient() };
}

report(rank, {
  weights,
  localGradients: await localGradients(),
  hooked: hooked.module.weight.grad?.tolist(),
  inGroups,
  apart,
  together,
  buffers: [await runningMean(true), await runningMean(false)],
  badHook: await messageOf(async () => {
    const mine = await start({ ddpCommHook: (() => 3) as never });
    const model = mine.setup(new nn.Linear(2, 1));
    mine.backward(model(torch.ones([1, 2])).sum());
  }),
});
