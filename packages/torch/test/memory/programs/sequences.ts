// A small Transformer layer trained on sequences of changing lengths: big blocks of many sizes, made and dropped in turns.
// Prints resident memory on the way. The first argument is the number of bytes between minor collections.
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";

const STEPS = 240;
const SAMPLES = [80, STEPS];

const every = Number(process.argv[2] ?? 0);
if (every > 0) torch.memory.setCollectEvery(every);
torch.manualSeed(0);
const layer = new nn.TransformerEncoderLayer(64, 4, { dimFeedforward: 256, dropout: 0, batchFirst: true });
const optimizer = new optim.Adam(layer.parameters(), { lr: 0.01 });
const samples: { step: number; rss: number }[] = [];
for (let step = 1; step <= STEPS; step++) {
  const x = torch.randn([8, 40 + ((step * 7) % 60), 64]);
  optimizer.zeroGrad();
  const loss = nn.functional.mseLoss(layer(x), x);
  loss.backward();
  optimizer.step();
  if (SAMPLES.includes(step)) samples.push({ step, rss: process.memoryUsage.rss() });
}
const { chargedBytes, peakBytes, collections } = torch.memory.stats();
console.log(JSON.stringify({ samples, chargedBytes, peakBytes, collections }));
