// 5,000 tensors of 1 MB, made and dropped in a plain synchronous loop; prints the most that was resident.
import * as torch from "@fabric-ts/torch";

let sum = 0;
for (let i = 0; i < 5000; i++) sum += torch.full([250_000], 1).numel();
console.log(
  JSON.stringify({ sum, peakBytes: process.resourceUsage().maxRSS * 1024, live: torch.memory.stats().liveTensors }),
);
