// Prints how many MB three training steps of a deep network add to this process at their peak.
import { readFileSync } from "node:fs";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor, utils } from "@fabric-ts/torch";

function resident(key: "VmRSS" | "VmHWM"): number {
  return Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;
}

const checkpointed = process.argv[2] === "checkpoint";
torch.memory.keepFreedBlocks(false);
const blocks = Array.from(
  { length: 24 },
  () => new nn.Sequential(new nn.Linear(64, 256), new nn.Tanh(), new nn.Sigmoid(), new nn.Linear(256, 64)),
);

function step(rows: number): void {
  let h: Tensor = torch.randn([rows, 64], { requiresGrad: true });
  for (const block of blocks) h = checkpointed ? utils.checkpoint(block, h) : block(h);
  h.square().mean().backward();
}

step(1);
const start = resident("VmRSS");
step(4096);
step(4096);
process.stdout.write(String(resident("VmHWM") - start));
