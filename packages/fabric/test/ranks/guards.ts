// Two processes: mistakes that would train wrongly without a word.
import { catchWarnings, Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data, nn, optim } from "@fabric-ts/torch";
import { MyModel } from "../support/models.js";
import { messageOf, report } from "../support/run-ranks.js";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
const rank = fabric.globalRank;
const x = torch.randn([4, 10]);

const raw = new MyModel();
const model = fabric.setup(raw);
fabric.backward(model(x.add(rank)).sum());
const local = {
  layer: await messageOf(() => fabric.backward(model.layer(x).sum())),
  module: await messageOf(() => fabric.backward(model.module(x).sum())),
  raw: await messageOf(() => raw(x).sum().backward()),
  allowed: await messageOf(() => fabric.noBackwardSync(model, () => fabric.backward(model.layer(x).sum()))),
  evaluated: await messageOf(() => torch.noGrad(() => model.module(x))),
};

class Outer extends nn.Module<[torch.Tensor], torch.Tensor> {
  inner = model;
  forward(input: torch.Tensor): torch.Tensor {
    return this.inner(input);
  }
}
const nested = await messageOf(() => fabric.setup(new Outer() as unknown as nn.Linear));
const wrapped = await messageOf(() => fabric.setup(new nn.parallel.DistributedDataParallel(new nn.Linear(2, 2))));
const again = (await catchWarnings(() => fabric.setup(raw))).map(({ message }) => message);

/** Trains two steps over a loader; the warnings, once there was time to compare. */
async function warningsOf(distributed: boolean, same = true): Promise<string[]> {
  torch.manualSeed(same ? 3 : rank);
  const dataset = new data.TensorDataset(torch.randn([16, 10]));
  const loader = fabric.setupDataLoaders(new data.DataLoader(dataset, { batchSize: 4 }), {
    useDistributedSampler: distributed,
  });
  const fresh = new MyModel();
  const [trained, optimizer] = fabric.setup(fresh, new optim.SGD(fresh.parameters(), { lr: 0.1 }));
  const caught = await catchWarnings(async () => {
    for (const [batch] of loader) {
      optimizer.zeroGrad();
      fabric.backward(trained(batch as torch.Tensor).sum());
      optimizer.step();
    }
    for (let turn = 0; turn < 3; turn++) {
      await fabric.barrier();
      await new Promise((resolve) => setTimeout(resolve, 600));
    }
  });
  return caught.map(({ message }) => message);
}

report(rank, {
  local,
  nested,
  wrapped,
  again,
  shared: await warningsOf(true),
  forgotten: await warningsOf(false),
  own: await warningsOf(false, false),
});
