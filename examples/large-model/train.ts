// Large models: planned without memory, made on the device in half precision without drawing random weights first, filled from a file, and
// only then given an optimizer. (Models that are too large for one device have to be sharded, which this version cannot do yet.)
//
//   npx tsx examples/large-model/train.ts --devices 2 --precision bf16-true
//   npx tsx examples/large-model/train.ts --width 2048 --depth 8
import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { Fabric, measureFlops, type PrecisionInput } from "@fabric-ts/fabric";
import { nn, noGrad, optim, randn, save, type Tensor, withDevice } from "@fabric-ts/torch";
import { readOptions } from "../options.js";

class Block extends nn.Module<[Tensor], Tensor> {
  norm: nn.LayerNorm;
  up: nn.Linear;
  down: nn.Linear;
  constructor(width: number) {
    super();
    this.norm = new nn.LayerNorm([width]);
    this.up = new nn.Linear(width, 4 * width);
    this.down = new nn.Linear(4 * width, width);
  }
  forward(x: Tensor): Tensor {
    return x.add(this.down(nn.functional.gelu(this.up(this.norm(x)))));
  }
}

const { devices, precision, width, depth, steps, file } = readOptions({
  devices: 1,
  precision: "bf16-true" as PrecisionInput,
  width: 512,
  depth: 4,
  steps: 20,
  file: "runs/large-model/weights.pt",
});
const make = () => new nn.Sequential(...Array.from({ length: depth }, () => new Block(width)));
const fabric = new Fabric({ accelerator: "cpu", devices, precision });
await fabric.launch();
fabric.seedEverything(1, { verbose: false });

// Shapes are enough to know what a model will take: on the "meta" device no tensor has memory.
const [plan, input] = withDevice("meta", () => [make(), randn([64, width])] as const);
const millions = plan.parameters().reduce((sum, parameter) => sum + parameter.numel(), 0) / 1e6;
const gigaflops = measureFlops(plan, () => plan(input)) / 1e9;
fabric.print(
  `${millions.toFixed(1)} million parameters, ${gigaflops.toFixed(1)} GFLOP for a forward pass of 64 samples`,
);

// Somebody's pretrained weights, in float32.
await fabric.rankZeroFirst(async () => {
  if (existsSync(file)) return;
  mkdirSync(dirname(file), { recursive: true });
  await save(make().stateDict(), file);
});

const timed = <T>(what: string, body: () => T): T => {
  const started = performance.now();
  const result = body();
  fabric.print(`${what}: ${(performance.now() - started).toFixed(0)} ms`);
  return result;
};
timed("made with random weights", () => fabric.initModule(make));
const net = timed("made without", () => fabric.initModule({ emptyInit: true }, make));
await fabric.loadRaw(file, net);

const model = fabric.setupModule(net);
const optimizer = fabric.setupOptimizers(new optim.Adam(model.parameters(), { lr: 1e-3 }));
const bytes = net.parameters().reduce((sum, parameter) => sum + parameter.numel() * parameter.elementSize(), 0);
fabric.print(`weights in ${model.dtype}, ${(bytes / 2 ** 20).toFixed(1)} MiB`);

// It learns to turn inputs around.
const x = fabric.toDevice(randn([64, width]));
const lossOf = () => nn.functional.mseLoss(model(x), x.neg());
const before = noGrad(() => lossOf().item());
for (let step = 0; step < steps; step++) {
  optimizer.zeroGrad();
  fabric.backward(lossOf());
  optimizer.step();
}
fabric.print(`loss ${before.toFixed(3)} before, ${noGrad(() => lossOf().item()).toFixed(3)} after ${steps} steps`);
