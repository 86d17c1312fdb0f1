// One measurement in a process of its own; prints a line of JSON. run.ts starts it beside worker.py.
//   worker.js operators CALLS
//   worker.js steps WORKLOAD torch|fabric DEVICES STEPS
import { Fabric } from "@fabric-ts/fabric";
import { manualSeed, nn, type optim, type Tensor } from "@fabric-ts/torch";
import { workloads } from "./models.js";
import { timeOperators } from "./operators.js";

async function timeSteps(name: string, through: string, devices: number, count: number): Promise<void> {
  const workload = workloads[name];
  if (!workload) throw new Error(`There is no workload "${name}".`);
  const fabric =
    through === "fabric"
      ? new Fabric({ accelerator: "cpu", devices, strategy: devices > 1 ? "ddp" : "auto" })
      : undefined;
  await fabric?.launch();
  manualSeed(1234);
  const net = workload.model();
  const raw = workload.optimizer(net);
  let model: (x: Tensor) => Tensor = net;
  let optimizer: optim.Optimizer = raw;
  if (fabric) [model, optimizer] = fabric.setup(net, raw);
  const batches = Array.from({ length: 8 }, () => workload.batch());
  const parameters = net.parameters();
  const step = (i: number): number => {
    const [x, y] = batches[i % batches.length] as [Tensor, Tensor];
    optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(model(x), y);
    if (fabric) fabric.backward(loss);
    else loss.backward();
    if (workload.clip !== undefined) nn.utils.clipGradNorm_(parameters, workload.clip);
    optimizer.step();
    return loss.item();
  };
  step(0);
  const firstStepAt = Date.now();
  for (let i = 1; i < Math.ceil(count / 5); i++) step(i);
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    step(i);
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  const rank = fabric?.globalRank ?? 0;
  const peakMb = process.resourceUsage().maxRSS / 1024;
  if (rank === 0)
    console.log(
      JSON.stringify({ medianMs: times[times.length >> 1], startedAt: performance.timeOrigin, firstStepAt, peakMb }),
    );
}

const [command, ...rest] = process.argv.slice(2);
if (command === "operators") console.log(JSON.stringify(timeOperators(Number(rest[0]))));
else await timeSteps(rest[0] ?? "", rest[1] ?? "", Number(rest[2]), Number(rest[3]));
