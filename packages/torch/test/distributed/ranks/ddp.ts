// What the ranks of ddp.test.ts do.
import * as torch from "@fabric-ts/torch";
import { distributed, nn, optim, type Tensor } from "@fabric-ts/torch";
import { errorFacts, type Place, runCase } from "../../support/rank.js";

const { DistributedDataParallel } = nn.parallel;

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(8, 16);
  second = new nn.Linear(16, 4);
  forward(x: Tensor) {
    return this.second(torch.relu(this.first(x)));
  }
}

/** Uses `second` only when told. */
class Branches extends nn.Module<[Tensor, boolean], { main: Tensor; extra: Tensor[] }> {
  first = new nn.Linear(8, 4);
  second = new nn.Linear(8, 4);
  forward(x: Tensor, both: boolean) {
    return { main: this.first(x), extra: both ? [this.second(x)] : [] };
  }
}

function batch(seed: number, rows = 6): Tensor {
  torch.manualSeed(seed);
  return torch.randn([rows, 8]);
}

function weights(module: nn.AnyModule): unknown {
  return module.parameters().map((p) => p.detach().flatten().tolist());
}

function gradients(module: nn.AnyModule): unknown[] {
  return module.parameters().map((p) => p.grad?.flatten().tolist() ?? null);
}

function failure(call: () => unknown): unknown {
  try {
    call();
    return null;
  } catch (error) {
    return errorFacts(error);
  }
}

interface Training {
  options?: nn.parallel.DistributedDataParallelOptions;
  dtype?: "float32" | "float64" | "bfloat16";
  steps?: number;
}

await runCase({
  // Every rank draws other weights and other data.
  async train({ rank, args }: Place<never>) {
    const { options = {}, dtype = "float32", steps = 6 } = args as Training;
    torch.manualSeed(rank + 1);
    const net = new Net().to(dtype);
    const model = new DistributedDataParallel(net, options);
    const start = weights(net);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.05 });
    for (let step = 0; step < steps; step++) {
      optimizer.zeroGrad();
      model(batch(10 * step + rank).to(dtype))
        .pow(2)
        .mean()
        .backward();
      optimizer.step();
    }
    return { start, end: weights(net), names: model.namedParameters().map(([name]) => name) };
  },

  async accumulate({ rank }: Place<never>) {
    torch.manualSeed(0);
    const model = new DistributedDataParallel(new Net());
    const result: unknown[] = [];
    for (let round = 0; round < 3; round++) {
      model.zeroGrad();
      model.noSync(() =>
        model(batch(2 * round + 100 * rank))
          .pow(2)
          .mean()
          .backward(),
      );
      const local = gradients(model);
      const context = model.noSync();
      context[Symbol.dispose]();
      model(batch(2 * round + 1 + 100 * rank))
        .pow(2)
        .mean()
        .backward();
      result.push([local, gradients(model)]);
    }
    return result;
  },

  async buffers({ rank }: Place<never>) {
    class Counted extends nn.Module<[Tensor], Tensor> {
      layer = new nn.Linear(8, 1);
      norm = new nn.BatchNorm1d(8);
      flags = this.registerBuffer("flags", torch.tensor([rank === 0, true]));
      forward(x: Tensor) {
        return this.layer(this.norm(x));
      }
    }
    const net = new Counted();
    const model = new DistributedDataParallel(net);
    const atStart = net.flags.tolist();
    const means: unknown[] = [];
    for (let step = 0; step < 2; step++) {
      model(batch(step + 100 * rank).add(10 * rank))
        .sum()
        .backward();
      means.push((net.norm.runningMean as Tensor).tolist());
    }
    model.eval();
    using _ = torch.noGrad();
    model(batch(5));
    const synced = (net.norm.runningMean as Tensor).tolist();
    return { atStart, means, synced };
  },

  async unused({ rank }: Place<never>) {
    const lossOf = ({ main, extra }: { main: Tensor; extra: Tensor[] }) =>
      extra.reduce((sum, x) => sum.add(x.sum()), main.sum());
    torch.manualSeed(0);
    const strict = new DistributedDataParallel(new Branches());
    lossOf(strict(batch(rank), false)).backward();
    const error = failure(() => strict(batch(rank), false));
    torch.manualSeed(0);
    const finding = new DistributedDataParallel(new Branches(), { findUnusedParameters: true });
    const results: unknown[] = [];
    // Nobody, one rank, all ranks use the second branch; then an output without part in the loss.
    for (const both of [false, rank === 1, true]) {
      finding.zeroGrad();
      lossOf(finding(batch(rank), both)).backward();
      results.push(gradients(finding).length, finding.module.second.weight.grad === null);
    }
    finding.zeroGrad();
    finding(batch(rank), true).main.sum().backward();
    lossOf(finding(batch(rank), true)).backward();
    return { error, results, same: gradients(finding) };
  },

  async mistakes({ rank }: Place<never>) {
    const frozen = new Net().requiresGrad_(false);
    const none = failure(() => new DistributedDataParallel(frozen));
    const notModule = failure(() => new DistributedDataParallel({} as never));
    const devices = failure(() => new DistributedDataParallel(new Net(), { deviceIds: [0] }));
    const shapes = failure(() => new DistributedDataParallel(new nn.Linear(8, 4 + rank)));
    const counts = failure(() => new DistributedDataParallel(rank === 0 ? new Net() : new nn.Linear(8, 16)));
    const model = new DistributedDataParallel(new Net());
    distributed.destroyProcessGroup();
    const destroyed = failure(() => model(batch(1)));
    return { none, notModule, devices, shapes, counts, destroyed };
  },

  async nested({ rank }: Place<never>) {
    // A wrapper may lend the inner module another `forward` for one call.
    const net = new Net();
    const model = new DistributedDataParallel(net);
    const original = net.forward;
    net.forward = function (this: Net, x: Tensor) {
      net.forward = original;
      return net.first(x).sum();
    };
    const first = failure(() => model(batch(rank)).backward());
    return {
      first,
      restored: net.forward === original,
      isModule: model.module === net,
      keys: Object.keys(model.stateDict()),
    };
  },
});
