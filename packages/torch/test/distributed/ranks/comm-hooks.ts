// What the ranks of comm-hooks.test.ts do.
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";
import { native } from "../../../dist/native.js";
import { errorFacts, type Place, runCase } from "../../support/rank.js";

const { parallel } = nn;

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(40, 64);
  second = new nn.Linear(64, 4);
  forward(x: Tensor) {
    return this.second(torch.relu(this.first(x)));
  }
}

function batch(seed: number, rows = 16): Tensor {
  torch.manualSeed(seed);
  return torch.randn([rows, 40]);
}

/** Registers what the case is about. */
const hooks: Record<string, (model: nn.parallel.DistributedDataParallel) => void> = {
  none: () => {},
  allReduce: (model) => model.registerCommHook(null, parallel.allReduceHook),
  fp16: (model) => model.registerCommHook(null, parallel.fp16CompressHook),
  bf16: (model) => model.registerCommHook(null, parallel.bf16CompressHook),
  wrapped: (model) => model.registerCommHook(null, parallel.bf16CompressWrapper(parallel.allReduceHook)),
  own: (model) =>
    model.registerCommHook({ size: 2 }, (state, bucket) =>
      bucket.allReduce(bucket.buffer()).map((sum) => sum.div_(state.size)),
    ),
  blocking: (model) =>
    model.registerCommHook(null, (_state, bucket) => bucket.allReduce(bucket.buffer().clone(), { op: "avg" }).wait()),
  powerSGD: (model) => {
    const state = new parallel.PowerSGDState({ startPowerSGDIter: 2, matrixApproximationRank: 4 });
    model.registerCommHook(state, parallel.powerSGDHook);
  },
};

interface Training {
  hook: string;
  options?: nn.parallel.DistributedDataParallelOptions;
  /** Backward passes run on another thread, as CUDA's do. */
  elsewhere?: boolean;
}

await runCase({
  async train({ rank, args }: Place<never>) {
    const { hook, options = {}, elsewhere = false } = args as Training;
    native().setPassesElsewhere(elsewhere);
    torch.manualSeed(1);
    const net = new Net();
    const model = new parallel.DistributedDataParallel(net, options);
    hooks[hook]?.(model);
    const optimizer = new optim.SGD(net.parameters(), { lr: 0.05 });
    for (let step = 0; step < 8; step++) {
      optimizer.zeroGrad();
      model(batch(10 * step + rank))
        .pow(2)
        .mean()
        .backward();
      optimizer.step();
    }
    return net.parameters().map((p) => p.detach().flatten().tolist());
  },

  // One sample on each of two ranks: the averaged gradient of a matrix has rank two at most.
  async rankTwo({ rank }: Place<never>) {
    const gradients = (hook: boolean) => {
      torch.manualSeed(1);
      const net = new nn.Linear(40, 30);
      const model = new parallel.DistributedDataParallel(net);
      const state = new parallel.PowerSGDState({ startPowerSGDIter: 2, matrixApproximationRank: 2 });
      if (hook) model.registerCommHook(state, parallel.powerSGDHook);
      for (let step = 0; step < 5; step++) {
        model.zeroGrad();
        model(batch(100 * step + rank, 1))
          .pow(2)
          .sum()
          .backward();
      }
      return { values: net.weight.grad?.flatten().tolist(), iter: state.iter, errors: state.errors.size };
    };
    return { plain: gradients(false), compressed: gradients(true) };
  },

  // 60 parameters of half a MiB.
  async sizes(_place: Place<never>) {
    class Many extends nn.Module<[Tensor], Tensor> {
      list = new nn.ParameterList(Array.from({ length: 60 }, () => new nn.Parameter(torch.zeros([1 << 17]))));
      forward(x: Tensor) {
        return this.list.parameters().reduce((sum, parameter) => sum.add(parameter.sum()), x);
      }
    }
    const model = new parallel.DistributedDataParallel(new Many());
    const sizes: number[] = [];
    model.registerCommHook(null, (_state, bucket) => {
      sizes[bucket.index] = bucket.buffer().numel() / (1 << 17);
      return bucket.buffer();
    });
    // The first pass is one bucket, in which the order of the gradients is found out.
    for (let pass = 0; pass < 2; pass++) model(torch.zeros([])).backward();
    return sizes;
  },

  async seen(_place: Place<never>) {
    const net = new Net();
    const model = new parallel.DistributedDataParallel(net, { bucketCapMb: 0.0009 });
    const seen: unknown[] = [];
    model.registerCommHook("state", (state, bucket) => {
      const parameters = bucket.parameters();
      seen.push({
        state,
        index: bucket.index,
        isLast: bucket.isLast,
        size: bucket.buffer().numel(),
        names: net
          .namedParameters()
          .filter(([, parameter]) => parameters.includes(parameter))
          .map(([name]) => name),
        shapesFit: bucket.gradients().every((gradient, i) => String(gradient.shape) === String(parameters[i]?.shape)),
        grad: torch.isGradEnabled(),
      });
      return bucket.allReduce(bucket.buffer(), { op: "avg" });
    });
    for (let step = 0; step < 2; step++) {
      seen.length = 0;
      model(batch(step)).sum().backward();
    }
    return seen;
  },

  async mistakes({ rank }: Place<never>) {
    const failure = (call: () => unknown): unknown => {
      try {
        call();
        return null;
      } catch (error) {
        return errorFacts(error);
      }
    };
    const train = (hook: unknown): unknown => {
      const model = new parallel.DistributedDataParallel(new Net());
      model.registerCommHook(null, hook as nn.parallel.CommHook<null>);
      return failure(() => model(batch(rank)).sum().backward());
    };
    const late = new parallel.DistributedDataParallel(new Net());
    late(batch(rank)).sum().backward();
    const twice = new parallel.DistributedDataParallel(new Net());
    twice.registerCommHook(null, parallel.fp16CompressHook);
    return {
      throws: train(() => {
        throw new RangeError("the hook's own");
      }),
      map: train((_state: unknown, bucket: nn.parallel.GradBucket) =>
        bucket.allReduce(bucket.buffer()).map(() => {
          throw new RangeError("in map");
        }),
      ),
      async: train(async () => {}),
      number: train(() => 7),
      short: train(() => torch.ones([2])),
      none: failure(() => late.registerCommHook(null, undefined as never)),
      late: failure(() => late.registerCommHook(null, parallel.fp16CompressHook)),
      twice: failure(() => twice.registerCommHook(null, parallel.fp16CompressHook)),
      start: failure(() => new parallel.PowerSGDState({ startPowerSGDIter: 1 })),
      rank: failure(() => new parallel.PowerSGDState({ matrixApproximationRank: 0 })),
    };
  },
});
