// The models that several tests share.

import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";

/** The model of the documentation: `generate` calls the model from another method than forward. */
export class MyModel extends nn.Module<[Tensor], Tensor> {
  layer = new nn.Linear(10, 2);
  version = 3;

  forward(x: Tensor): Tensor {
    return this.layer(x);
  }
  generate(sample: Tensor = torch.randn([10])): Tensor {
    return this(sample);
  }
  callsLayer(x: Tensor): Tensor {
    return this.layer(x);
  }
  callsForward(x: Tensor): Tensor {
    return this.forward(x);
  }
  callsGenerate(x: Tensor): Tensor {
    return this.generate(x);
  }
  usesWeights(x: Tensor): Tensor {
    return nn.functional.linear(x, this.layer.weight, this.layer.bias);
  }
  describe(): string {
    return `version ${this.version}`;
  }
  swallows(x: Tensor): string {
    try {
      this(x);
    } catch {
      // The guard's error must not get lost here.
    }
    return "swallowed";
  }
  fails(): never {
    throw new RangeError("own error");
  }
  async later(x: Tensor): Promise<Tensor> {
    await Promise.resolve();
    return this(x);
  }
  async waits(): Promise<string> {
    await Promise.resolve();
    return "waited";
  }
  *stream(x: Tensor): Generator<number> {
    yield 1;
    yield this(x).numel();
  }
  *count(): Generator<number> {
    yield 1;
    yield 2;
  }
  arrow = (x: Tensor): Tensor => this.layer(x);
}
