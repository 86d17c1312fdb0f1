// Ten steps on fixed data, in several ways that have to give the same weights; one process sees the whole batch, several their parts of it.

import type { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";

export const ways = ["plain", "accumulated", "marked"] as const;
export type Way = (typeof ways)[number];

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(6, 16);
  second = new nn.Linear(16, 3);
  forward(x: Tensor): Tensor {
    return this.second(torch.tanh(this.first(x)));
  }
  loss(x: Tensor, y: Tensor): Tensor {
    return nn.functional.mseLoss(this(x), y);
  }
}

/** Trains from the same start on the same data and returns all weights. */
export function train(fabric: Fabric, way: Way): number[] {
  torch.manualSeed(7);
  const raw = new Net();
  const x = torch.randn([10, 8, 6]);
  const y = torch.randn([10, 8, 3]);
  const [model, optimizer] = fabric.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.1, momentum: 0.9 }));
  model.markForwardMethod("loss");
  const loss = (input: Tensor, target: Tensor): Tensor =>
    way === "marked" ? model.loss(input, target) : nn.functional.mseLoss(model(input), target);
  const rows = 8 / fabric.worldSize;
  for (let step = 0; step < 10; step++) {
    const share = (data: Tensor): Tensor => data.select(0, step).narrow(0, fabric.globalRank * rows, rows);
    optimizer.zeroGrad();
    const parts = way === "accumulated" ? 2 : 1;
    for (let part = 0; part < parts; part++) {
      const size = rows / parts;
      const piece = (data: Tensor): Tensor => share(data).narrow(0, part * size, size);
      fabric.noBackwardSync(model, { enabled: part < parts - 1 }, () => {
        fabric.backward(loss(piece(x), piece(y)).div(parts));
      });
    }
    optimizer.step();
  }
  return raw.parameters().flatMap((parameter) => parameter.detach().flatten().tolist() as number[]);
}
