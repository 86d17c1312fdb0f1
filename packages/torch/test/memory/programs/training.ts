// A small model trained for 100,000 steps in a plain synchronous loop; prints live tensors and resident memory on the way.
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";

const STEPS = 100_000;
const SAMPLES = [1_000, 10_000, 50_000, STEPS];

torch.manualSeed(0);
const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 1));
const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 });
const samples: { step: number; liveTensors: number; rss: number }[] = [];
const began = performance.now();
for (let step = 1; step <= STEPS; step++) {
  const x = torch.randn([16, 4]);
  optimizer.zeroGrad();
  const loss = nn.functional.mseLoss(model(x), x.sum(1, { keepdim: true }));
  loss.backward();
  optimizer.step();
  if (SAMPLES.includes(step)) {
    samples.push({ step, liveTensors: torch.memory.stats().liveTensors, rss: process.memoryUsage.rss() });
  }
}
console.log(JSON.stringify({ samples, seconds: (performance.now() - began) / 1000 }));
