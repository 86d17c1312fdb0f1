// A model in which one parameter has two names.
import { nn, type Tensor } from "../../../dist/index.js";

export class Tied extends nn.Module<[Tensor], Tensor> {
  readonly first = new nn.Linear(2, 2, { bias: false });
  readonly second = new nn.Linear(2, 2);
  constructor() {
    super();
    this.second.weight = this.first.weight;
  }
  forward(x: Tensor): Tensor {
    return this.second(this.first(x));
  }
}
