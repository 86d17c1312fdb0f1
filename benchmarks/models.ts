// The three models that the parity tests and the benchmarks train, the same as in models.py.
import { arange, nn, ones, optim, randint, randn, type Tensor } from "@fabric-ts/torch";

/** A model with its optimizer and its random batches. */
export interface Workload {
  /** Makes the model; its parameters draw in construction order. */
  model(): nn.Module<[Tensor], Tensor>;
  /** Makes the optimizer. */
  optimizer(model: nn.Module<[Tensor], Tensor>): optim.Optimizer;
  /** Draws inputs, then targets. */
  batch(): [inputs: Tensor, targets: Tensor];
  /** Samples in a batch. */
  batchSize: number;
  /** Norm to which gradients are clipped, or undefined. */
  clip?: number;
}

/** Self-attention with one matrix for queries, keys and values, then a feed-forward layer; both before-norm. */
class Block extends nn.Module<[Tensor], Tensor> {
  ln1 = new nn.LayerNorm(128);
  qkv = new nn.Linear(128, 384);
  proj = new nn.Linear(128, 128);
  ln2 = new nn.LayerNorm(128);
  fc = new nn.Linear(128, 512);
  out = new nn.Linear(512, 128);
  readonly #mask = ones([64, 64], { dtype: "bool" }).triu(1);

  forward(x: Tensor): Tensor {
    const [q, k, v] = this.qkv(this.ln1(x))
      .split(128, 2)
      .map((part) => part.view([8, 64, 4, 32]).transpose(1, 2)) as [Tensor, Tensor, Tensor];
    const scores = q.matmul(k.transpose(-2, -1)).mul(1 / Math.sqrt(32));
    const weights = scores.maskedFill(this.#mask, -Infinity).softmax(-1);
    const mixed = weights.matmul(v).transpose(1, 2).contiguous().view([8, 64, 128]);
    const y = x.add(this.proj(mixed));
    return y.add(this.out(nn.functional.gelu(this.fc(this.ln2(y)))));
  }
}

/** A small GPT: 4 blocks of width 128 over 64 positions of 65 tokens. */
export class GPT extends nn.Module<[Tensor], Tensor> {
  tok = new nn.Embedding(65, 128);
  pos = new nn.Embedding(64, 128);
  blocks = new nn.ModuleList(Array.from({ length: 4 }, () => new Block()));
  ln = new nn.LayerNorm(128);
  head = new nn.Linear(128, 65, { bias: false });
  readonly #positions = arange(64);

  forward(tokens: Tensor): Tensor {
    let x = this.tok(tokens).add(this.pos(this.#positions));
    for (const block of this.blocks) x = (block as Block)(x);
    return this.head(this.ln(x)).view([-1, 65]);
  }
}

function gpt(clip: number): Workload {
  return {
    model: () => new GPT(),
    optimizer: (model) => new optim.AdamW(model.parameters(), { lr: 3e-4, weightDecay: 0.01 }),
    batch: () => [randint(0, 65, [8, 64]), randint(0, 65, [512])],
    batchSize: 8,
    clip,
  };
}

/** The workloads by name. */
export const workloads: Record<string, Workload> = {
  mlp: {
    model: () => new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10)),
    optimizer: (model) => new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 }),
    batch: () => [randn([64, 784]), randint(0, 10, [64])],
    batchSize: 64,
  },
  convnet: {
    model: () =>
      new nn.Sequential(
        new nn.Conv2d(1, 16, 3, { padding: 1 }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Conv2d(16, 32, 3, { padding: 1 }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Flatten(),
        new nn.Linear(1568, 10),
      ),
    optimizer: (model) => new optim.Adam(model.parameters(), { lr: 1e-3 }),
    batch: () => [randn([64, 1, 28, 28]), randint(0, 10, [64])],
    batchSize: 64,
  },
  gpt: gpt(1.0),
  gpt_clip: gpt(0.1),
};
