// Evaluates a model without `noGrad`: every loss holds the graph and the activations of its step, although nothing runs
// backward. Prints the most that was resident.
import * as torch from "@fabric-ts/torch";
import { nn } from "@fabric-ts/torch";

torch.manualSeed(0);
const net = new nn.Sequential(...Array.from({ length: 20 }, () => [new nn.Linear(256, 256), new nn.Tanh()]).flat());
let total = 0;
let loss: torch.Tensor | undefined;
for (let step = 0; step < 150; step++) {
  loss = net(torch.randn([2000, 256]))
    .square()
    .mean(); // 80 MB of activations
  total += loss.item();
}
console.log(JSON.stringify({ total, peakBytes: process.resourceUsage().maxRSS * 1024 }));
