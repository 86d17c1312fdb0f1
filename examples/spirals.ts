// A small task that no straight line solves, for the examples that are about something else than data and models: points of two
// spirals that wind around each other, and a network that tells them apart after a second of training.
import { data, Generator, nn, rand, randn, stack, type Tensor } from "@fabric-ts/torch";

/** Points [2] of the two spirals with their label, 0 or 1 (int64). The same seed makes the same points in every process. */
export function spirals(count: number, seed = 0): data.TensorDataset<[Tensor, Tensor]> {
  const generator = new Generator().manualSeed(seed);
  const turn = rand([count], { generator })
    .sqrt()
    .mul(3 * Math.PI);
  const labels = rand([count], { generator }).gt(0.5).to("int64");
  const angle = turn.add(labels.mul(Math.PI)); // the second spiral is the first, turned by half
  const points = stack([angle.cos().mul(turn), angle.sin().mul(turn)], 1).div(3 * Math.PI);
  return new data.TensorDataset(points.add(randn([count, 2], { generator }).mul(0.02)), labels);
}

/** Two hidden layers and a score for each spiral. */
export class SpiralNet extends nn.Module<[Tensor], Tensor> {
  layers = new nn.Sequential(
    new nn.Linear(2, 64),
    new nn.Tanh(),
    new nn.Linear(64, 64),
    new nn.Tanh(),
    new nn.Linear(64, 2),
  );

  forward(points: Tensor): Tensor {
    return this.layers(points);
  }
}
