// Two processes, and two models with an optimizer each, as in a GAN: which gradients each loss leaves where.
import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { report } from "../support/run-ranks.js";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
const rank = fabric.globalRank;

const weighing = (weight: number): nn.Linear => {
  const layer = new nn.Linear(1, 1, { bias: false });
  torch.noGrad(() => layer.weight.fill_(weight));
  return layer;
};
const [generator, discriminator] = [weighing(1), weighing(2)];
const [g, gOptimizer] = fabric.setup(generator, new optim.SGD(generator.parameters(), { lr: 0.5 }));
const [d, dOptimizer] = fabric.setup(discriminator, new optim.SGD(discriminator.parameters(), { lr: 0.5 }));
const state = (): unknown =>
  [generator, discriminator].map(({ weight }) => [weight.item(), weight.grad?.item() ?? null]);

const steps: Record<string, unknown> = {};
const fake = g(torch.tensor([rank + 1.5]));
fabric.backward(d(fake.detach()).sum());
steps.afterOne = state();
dOptimizer.step();
steps.stepped = state();
dOptimizer.zeroGrad();
fabric.backward(d(fake).sum());
gOptimizer.step();
steps.afterBoth = state();
report(rank, steps);
