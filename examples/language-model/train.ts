// A small GPT learns the documentation of this repository by heart, letter by letter, and then writes on in its style. Writing is a method
// of the model that calls it again and again, and is marked so that it goes through Fabric as `forward` does.
//
//   npx tsx examples/language-model/train.ts --devices 2
//   npx tsx examples/language-model/train.ts --devices 2 --steps 3000 --width 128 --depth 4 --precision bf16-mixed
import { readdirSync, readFileSync } from "node:fs";
import { Fabric, type PrecisionInput } from "@fabric-ts/fabric";
import { arange, cat, data, multinomial, nn, noGrad, optim, type Tensor, tensor } from "@fabric-ts/torch";
import { readOptions } from "../options.js";

const { devices, precision, steps, width, depth, context } = readOptions({
  devices: 2,
  precision: "32-true" as PrecisionInput,
  steps: 300,
  width: 64,
  depth: 2,
  context: 64,
});
const HEADS = 4;

class Block extends nn.Module<[Tensor], Tensor> {
  norm1 = new nn.LayerNorm([width]);
  qkv = new nn.Linear(width, 3 * width);
  project = new nn.Linear(width, width);
  norm2 = new nn.LayerNorm([width]);
  mlp = new nn.Sequential(new nn.Linear(width, 4 * width), new nn.GELU(), new nn.Linear(4 * width, width));

  forward(x: Tensor): Tensor {
    const [batch = 0, length = 0] = x.shape;
    const heads = this.qkv(this.norm1(x))
      .view(batch, length, 3, HEADS, width / HEADS)
      .permute(2, 0, 3, 1, 4);
    const [q, k, v] = heads.unbind(0) as [Tensor, Tensor, Tensor];
    const attended = nn.functional.scaledDotProductAttention(q, k, v, { isCausal: true });
    const y = x.add(this.project(attended.transpose(1, 2).reshape(batch, length, width)));
    return y.add(this.mlp(this.norm2(y)));
  }
}

class GPT extends nn.Module<[Tensor], Tensor> {
  tokens: nn.Embedding;
  positions = new nn.Embedding(context, width);
  blocks = new nn.Sequential(...Array.from({ length: depth }, () => new Block()));
  norm = new nn.LayerNorm([width]);
  head: nn.Linear;

  constructor(vocabulary: number) {
    super();
    this.tokens = new nn.Embedding(vocabulary, width);
    this.head = new nn.Linear(width, vocabulary, { bias: false });
  }

  /** Scores [batch, length, vocabulary] of what comes next, for letters [batch, length]. */
  forward(letters: Tensor): Tensor {
    const positions = arange(letters.size(1), { device: letters.device });
    return this.head(this.norm(this.blocks(this.tokens(letters).add(this.positions(positions)))));
  }

  /** Writes `count` letters behind those given, [1, length]. */
  generate(letters: Tensor, count: number): Tensor {
    let text = letters;
    for (let i = 0; i < count; i++) {
      const scores = this(text.at(":", `-${context}:`)).at(":", -1);
      text = cat([text, multinomial(scores.div(0.7).softmax(1), 1)], 1);
    }
    return text;
  }
}

/** Every piece of the text of a length, with the same piece one letter later. */
class Pieces extends data.Dataset<[Tensor, Tensor]> {
  constructor(readonly text: Tensor) {
    super();
  }
  get length(): number {
    return this.text.size(0) - context;
  }
  get(at: number): [Tensor, Tensor] {
    return [this.text.slice(0, at, at + context), this.text.slice(0, at + 1, at + context + 1)];
  }
}

const fabric = new Fabric({ accelerator: "cpu", devices, precision });
await fabric.launch();
fabric.seedEverything(1, { verbose: false });

const docs = new URL("../../docs/", import.meta.url);
const pages = readdirSync(docs).filter((name) => name.endsWith(".md") && name !== "spec-tests.md");
const text = pages
  .sort()
  .map((name) => readFileSync(new URL(name, docs), "utf8"))
  .join("\n");
const alphabet = [...new Set(text)].sort();
const numbers = new Map(alphabet.map((letter, i) => [letter, i]));
const encode = (text: string) => tensor([...text].map((letter) => numbers.get(letter) ?? 0));
const decode = (letters: Tensor) => (letters.tolist() as number[]).map((i) => alphabet[i]).join("");

const letters = encode(text);
const train = letters.at(`:-${text.length >> 4}`);
const heldOut = fabric.toDevice(letters.at(`-${text.length >> 4}:`));
const net = new GPT(alphabet.length);
const [model, optimizer] = fabric.setup(net, new optim.AdamW(net.parameters(), { lr: 3e-3 }));
model.markForwardMethod("generate");
const batchSize = Math.ceil(32 / fabric.worldSize);
const loader = fabric.setupDataLoaders(
  new data.DataLoader(new Pieces(train), { batchSize, shuffle: true, dropLast: true }),
);
const lossOf = (scores: Tensor, next: Tensor) => nn.functional.crossEntropy(scores.flatten(0, 1), next.flatten());

/** On text that it has not been trained on, in equal shares of the processes. */
async function heldOutLoss(): Promise<number> {
  const rows = Math.floor((heldOut.size(0) - 1) / context);
  const pick = (from: number) =>
    heldOut
      .at(`${from}:${from + rows * context}`)
      .view(rows, context)
      .at(`${fabric.globalRank}::${fabric.worldSize}`);
  const loss = noGrad(() => lossOf(model(pick(0)), pick(1)));
  return (await fabric.allReduce(loss)).item();
}

fabric.print(`${text.length} letters of ${alphabet.length} kinds; held-out loss ${(await heldOutLoss()).toFixed(3)}`);
const started = performance.now();
let step = 0;
for (const [input, next] of loader) {
  if (step === steps) break;
  optimizer.zeroGrad();
  const loss = lossOf(model(input), next);
  fabric.backward(loss);
  fabric.clipGradients(model, optimizer, { maxNorm: 1 });
  optimizer.step();
  step++;
  if (step % Math.ceil(steps / 6) === 0) {
    const perSecond = (step * batchSize * fabric.worldSize * context * 1000) / (performance.now() - started);
    fabric.print(`step ${step}: loss ${loss.item().toFixed(3)}, ${perSecond.toFixed(0)} letters/s`);
  }
}
fabric.print(`held-out loss ${(await heldOutLoss()).toFixed(3)}\n`);

const written = noGrad(() => model.generate(fabric.toDevice(encode("Fabric ").unsqueeze(0)), 300));
fabric.print(decode(written.at(0)));
