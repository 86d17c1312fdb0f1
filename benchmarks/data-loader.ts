// What loader workers cost and gain, in milliseconds a batch: the least of several passes, since other programs only ever add to it.
//
//   node scripts/run.mjs benchmarks/dist/data-loader.js
import { availableParallelism, cpus } from "node:os";
import * as torch from "@fabric-ts/torch";
import { data } from "@fabric-ts/torch";
import { Big, Costly } from "./data-loader-samples.js";

const passes = 7;
const module = new URL("./data-loader-samples.js", import.meta.url);
const weights = torch.randn([300, 300]);

/** A training step of some milliseconds. */
function train(): void {
  let x = weights;
  for (let i = 0; i < 12; i++) x = x.mm(weights).tanh();
  x.sum().item();
}

function time<T>(dataset: data.DatasetLike<T>, batchSize: number, numWorkers: number, step: () => void): number {
  using loader = new data.DataLoader(dataset, { batchSize, numWorkers, persistentWorkers: numWorkers > 0 });
  let least = Number.POSITIVE_INFINITY;
  // The first pass starts the workers.
  for (let pass = 0; pass <= passes; pass++) {
    let batches = 0;
    const start = performance.now();
    for (const batch of loader) {
      batches++;
      step();
      (batch as torch.Tensor).dispose();
    }
    if (pass > 0) least = Math.min(least, (performance.now() - start) / batches);
  }
  return least;
}

const none = (): void => {};
const numbers = Array.from({ length: 32_000 }, (_, i) => i);
const cases: [string, (numWorkers: number) => number][] = [
  ["32 numbers", (n) => time(numbers, 32, n, none)],
  ["32 pictures of 3 x 224 x 224 that cost nothing (19 MB)", (n) => time(data.workerDataset(module, Big), 32, n, none)],
  ["8 costly samples", (n) => time(data.workerDataset(module, Costly), 8, n, none)],
  ["8 costly samples and a training step", (n) => time(data.workerDataset(module, Costly), 8, n, train)],
];
torch.setNumThreads(1);
console.log(
  `${cpus()[0]?.model}, ${availableParallelism()} cores; Node ${process.version}, LibTorch ${torch.versions().torch}`,
);
console.log("\n| ms a batch | no workers | 1 worker | 2 workers |\n| --- | ---: | ---: | ---: |");
for (const [name, measure] of cases) {
  console.log(`| ${name} | ${[0, 1, 2].map((n) => measure(n).toFixed(3)).join(" | ")} |`);
}
