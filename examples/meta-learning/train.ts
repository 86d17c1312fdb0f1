// Meta-learning (MAML, Finn et al. 2017): start weights are learned from which a few gradient steps on ten points suffice for a new sine
// wave. The outer gradient goes through those steps, so it needs second derivatives. Adapted weights are no parameters of a wrapped model:
// each process takes gradients over waves of its own, and they are averaged by hand.
//
//   npx tsx examples/meta-learning/train.ts --devices 2
import { Fabric } from "@fabric-ts/fabric";
import { autograd, nn, optim, rand, type Tensor } from "@fabric-ts/torch";
import { readOptions } from "../options.js";
import { haveSameWeights } from "../same-weights.js";

const POINTS = 10;
const INNER_RATE = 0.02;

/** Many networks at once, one for each wave: every weight has the wave as its first dimension. */
function predict(x: Tensor, weights: readonly Tensor[]): Tensor {
  let y = x;
  for (let i = 0; i < weights.length; i += 2) {
    const [weight, bias] = [weights[i] as Tensor, weights[i + 1] as Tensor];
    y = bias.unsqueeze(1).add(y.matmul(weight.transpose(1, 2)));
    if (i + 2 < weights.length) y = y.relu();
  }
  return y;
}

/** Waves of random height and shift, and points [waves, POINTS, 1] on them: some to adapt to, others to judge by. */
function waves(count: number) {
  const height = rand([count, 1, 1]).mul(4.9).add(0.1);
  const shift = rand([count, 1, 1]).mul(Math.PI);
  const points = () => {
    const x = rand([count, POINTS, 1]).mul(10).sub(5);
    return { x, y: x.sub(shift).sin().mul(height) };
  };
  return { known: points(), asked: points() };
}

/** The mean error on the asked points after gradient steps on the known ones; a function of the start weights that can be derived. */
function errorAfterAdapting(start: readonly Tensor[], count: number, steps: number): Tensor {
  const { known, asked } = waves(count);
  let weights = start.map((weight) => weight.expand([count, ...weight.shape]));
  for (let step = 0; step < steps; step++) {
    // A sum over the waves: the derivative by the weights of one wave is that of its own error.
    const error = predict(known.x, weights).sub(known.y).pow(2).mean(1).sum();
    const gradients = autograd.grad(error, weights, { createGraph: true });
    weights = weights.map((weight, i) => weight.sub((gradients[i] as Tensor).mul(INNER_RATE)));
  }
  return nn.functional.mseLoss(predict(asked.x, weights), asked.y);
}

const options = readOptions({ devices: 2, steps: 600, waves: 16, lr: 0.003 });
const fabric = new Fabric({ accelerator: "cpu", devices: options.devices });
await fabric.launch();
fabric.seedEverything(1, { verbose: false }); // the same first weights everywhere

const net = new nn.Sequential(
  new nn.Linear(1, 40),
  new nn.ReLU(),
  new nn.Linear(40, 40),
  new nn.ReLU(),
  new nn.Linear(40, 1),
);
const start = fabric.toDevice(net).parameters();
const optimizer = fabric.setupOptimizers(new optim.Adam(start, { lr: options.lr }));

async function report(step: number): Promise<void> {
  fabric.seedEverything(99, { verbose: false }); // always the same new waves
  const errors = await fabric.allReduce([0, 1, 5].map((steps) => errorAfterAdapting(start, 200, steps).detach()));
  const [none, one, five] = errors.map((error) => error.item().toFixed(3));
  fabric.print(`step ${step}: error on new waves ${none} as it is, ${one} after one step, ${five} after five`);
  fabric.seedEverything(1000 * step + fabric.globalRank, { verbose: false }); // waves of its own for each process
}

await report(0);
for (let step = 1; step <= options.steps; step++) {
  optimizer.zeroGrad();
  fabric.backward(errorAfterAdapting(start, options.waves, 1));
  await fabric.allReduce(start.map(({ grad }) => grad)); // their means, in place
  optimizer.step();
  if (step % Math.ceil(options.steps / 4) === 0) await report(step);
}
fabric.print(`the same weights on all processes: ${await haveSameWeights(fabric, [net])}`);
