// What the ranks of local-gradients.test.ts do.
import * as torch from "@fabric-ts/torch";
import { autograd, distributed, nn, type Tensor } from "@fabric-ts/torch";
import { errorFacts, runCase } from "../../support/rank.js";

const { DistributedDataParallel } = nn.parallel;

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(4, 4);
  second = new nn.Linear(4, 2);
  forward(x: Tensor) {
    return this.second(torch.relu(this.first(x)));
  }
}

function failure(call: () => unknown): unknown {
  try {
    call();
    return null;
  } catch (error) {
    return errorFacts(error);
  }
}

const x = torch.ones([3, 4]);
const make = (options = {}) => new DistributedDataParallel(new Net(), options);

await runCase({
  async refused() {
    const fresh = make();
    const whole = failure(() => fresh.module(x).sum().backward());
    const trained = make();
    trained(x).sum().backward();
    const layer = failure(() => trained.module.first(x).sum().backward());
    const twice = make();
    const [one, two] = [twice(x), twice(x.mul(2))];
    one.sum().backward();
    const second = failure(() => two.sum().backward());
    const kept = make();
    const loss = kept(x).sum();
    loss.backward(undefined, { retainGraph: true });
    const again = failure(() => loss.backward());
    return { whole, layer, second, again };
  },

  async allowed() {
    const model = make();
    const results: Record<string, unknown> = {};
    results.step = failure(() => model(x).sum().backward());
    results.summed = failure(() =>
      model(x)
        .sum()
        .add(model(x.mul(2)).sum())
        .backward(),
    );
    results.extra = failure(() => model(x).sum().add(model.module.first(x).sum()).backward());
    results.gradients = failure(() => autograd.grad([model.module(x).sum()], model.module.parameters()));
    results.noSync = failure(() => model.noSync(() => model(x).sum().backward()));
    results.local = failure(() => model.noSync(() => model.module.first(x).sum().backward()));
    results.after = failure(() => model(x).sum().backward());
    results.noGrad = failure(() => torch.noGrad(() => model.module(x)));
    results.staticGraph = failure(() => {
      const fixed = make({ staticGraph: true });
      for (let step = 0; step < 3; step++) fixed(x).sum().backward();
    });
    // Two wrappers around the same parameters: a call of either is enough.
    const net = new Net();
    const wrappers = [new DistributedDataParallel(net), new DistributedDataParallel(net)];
    results.wrappers = wrappers.map((wrapper) => failure(() => wrapper(x).sum().backward()));
    const left = failure(() => wrappers[0]?.module(x).sum().backward());
    results.left = (left as { code?: string } | null)?.code;
    results.nested = failure(() => new DistributedDataParallel(make() as unknown as Net));
    distributed.destroyProcessGroup();
    results.destroyed = failure(() => net(x).sum().backward());
    return results;
  },
});
