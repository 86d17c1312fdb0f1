// What the ranks of sync-batch-norm.test.ts do.
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";
import { errorFacts, type Place, runCase } from "../../support/rank.js";

interface Layer {
  rows: number[];
  shape: number[];
  options: nn.SyncBatchNormOptions;
}

/** The rows of this rank of a batch that all ranks draw alike. */
function part(seed: number, { rows, shape }: Layer, rank: number): Tensor {
  torch.manualSeed(seed);
  const all = torch.randn([rows.reduce((a, b) => a + b), ...shape], { dtype: "float64" });
  const start = rows.slice(0, rank).reduce((a, b) => a + b, 0);
  return all.narrow(0, start, rows[rank] as number).clone();
}

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Conv2d(1, 3, 2);
  layers = new nn.Sequential(new nn.BatchNorm2d(3), new nn.ReLU());
  last = new nn.Linear(3, 2);
  forward(x: Tensor) {
    return this.last(this.layers(this.first(x)).mean([2, 3]));
  }
}

await runCase({
  async layer({ rank, args }: Place<never>) {
    const layer = args as Layer;
    const norm = new nn.SyncBatchNorm(layer.shape[0] as number, layer.options).double();
    if (norm.weight && norm.bias) {
      torch.manualSeed(3);
      torch.nn.init.uniform_(norm.weight, 0.5, 1.5);
      torch.nn.init.uniform_(norm.bias, -1, 1);
    }
    const outputs: unknown[] = [];
    const gradients: unknown[] = [];
    for (const step of [0, 1]) {
      const x = part(step, layer, rank).requiresGrad_();
      const y = norm(x);
      outputs.push(y.flatten().tolist());
      y.mul(part(10 + step, layer, rank))
        .sum()
        .backward();
      gradients.push(x.grad?.flatten().tolist() ?? []);
    }
    return {
      outputs,
      gradients,
      weight: norm.weight?.grad?.tolist() ?? null,
      bias: norm.bias?.grad?.tolist() ?? null,
      mean: norm.runningMean?.tolist() ?? null,
      variance: norm.runningVar?.tolist() ?? null,
      batches: norm.numBatchesTracked?.item() ?? null,
      evaluated: norm
        .eval()(part(0, layer, rank))
        .flatten()
        .tolist(),
    };
  },

  async train({ rank }: Place<never>) {
    torch.manualSeed(0);
    const net = nn.SyncBatchNorm.convertSyncBatchnorm(new Net()).double();
    const model = new nn.parallel.DistributedDataParallel(net);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    for (let step = 0; step < 4; step++) {
      optimizer.zeroGrad();
      model(part(step, { rows: [3, 3], shape: [1, 4, 4], options: {} }, rank))
        .square()
        .mean()
        .backward();
      optimizer.step();
    }
    return Object.entries(net.stateDict()).map(([name, value]) => [name, (value as Tensor).flatten().tolist()]);
  },

  async tooFew() {
    const norm = new nn.SyncBatchNorm(2);
    try {
      norm(torch.ones([0, 2]));
      return null;
    } catch (error) {
      return errorFacts(error);
    }
  },
});
