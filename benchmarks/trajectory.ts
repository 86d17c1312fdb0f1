// Trains a workload for 20 steps and prints the bits of every loss and hashes of inputs, logits, gradients and weights as JSON.
//   node benchmarks/dist/trajectory.js mlp|convnet|gpt|gpt_clip [--through torch|fabric] [--devices N]
// The same program in Python is trajectory.py. With several devices each rank prints its own line.
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { Fabric } from "@fabric-ts/fabric";
import { manualSeed, nn, type optim, type Tensor } from "@fabric-ts/torch";
import { workloads } from "./models.js";

const STEPS = 20;

function bytes(tensor: Tensor): Uint8Array {
  const values = tensor.detach().toTypedArray();
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function sha256(tensor: Tensor): string {
  return createHash("sha256").update(bytes(tensor)).digest("hex");
}

function bits(tensor: Tensor): string {
  return Buffer.from(bytes(tensor)).swap32().toString("hex");
}

const { values, positionals } = parseArgs({
  options: { through: { type: "string", default: "torch" }, devices: { type: "string", default: "1" } },
  allowPositionals: true,
});
const workload = workloads[positionals[0] ?? ""];
if (!workload)
  throw new Error(`There is no workload "${positionals[0]}". There are: ${Object.keys(workloads).join(", ")}.`);

const devices = Number(values.devices);
const fabric =
  values.through === "fabric"
    ? new Fabric({ accelerator: "cpu", devices, strategy: devices > 1 ? "ddp" : "auto" })
    : undefined;
await fabric?.launch();

manualSeed(1234);
const net = workload.model();
const rawOptimizer = workload.optimizer(net);
const named = net.namedParameters();
const params = named.map(([name, parameter]): Record<string, unknown> => ({ name, sha256_init: sha256(parameter) }));
let model: (x: Tensor) => Tensor = net;
let optimizer: optim.Optimizer = rawOptimizer;
if (fabric) [model, optimizer] = fabric.setup(net, rawOptimizer);
if (fabric && fabric.globalRank === 1) manualSeed(1235);

const steps: Record<string, unknown>[] = [];
let firstBatch: Record<string, unknown> = {};
for (let step = 0; step < STEPS; step++) {
  const [x, y] = workload.batch();
  optimizer.zeroGrad();
  const logits = model(x);
  const loss = nn.functional.crossEntropy(logits, y);
  if (fabric) fabric.backward(loss);
  else loss.backward();
  const norm = workload.clip === undefined ? undefined : nn.utils.clipGradNorm_(net.parameters(), workload.clip);
  const gradients = step === 0 ? named.map(([, parameter]) => sha256(parameter.grad as Tensor)) : [];
  optimizer.step();
  steps.push({
    step,
    loss: bits(loss),
    ...(norm && { grad_norm: bits(norm) }),
    x_sha256: sha256(x),
    y_sha256: sha256(y),
  });
  if (step === 0) firstBatch = { x_sha256: sha256(x), y_sha256: sha256(y), logits_sha256: sha256(logits) };
  if (step === 0 || step === STEPS - 1) {
    named.forEach(([, parameter], i) => {
      const entry = params[i] as Record<string, unknown>;
      if (step === 0) entry.sha256_grad_step0 = gradients[i];
      entry[`sha256_after_step${step}`] = sha256(parameter);
    });
  }
}
console.log(JSON.stringify({ rank: fabric?.globalRank ?? 0, first_batch: firstBatch, steps, params }));
