// Calls of custom functions whose graphs die in every way there is: used by backward, dropped, and after an error.
import * as torch from "@fabric-ts/torch";
import { autograd, type Tensor } from "@fabric-ts/torch";
import { native } from "../../../dist/native.js";
import { collectAll, liveCallbacks } from "../../support/engine.js";

let backward = 0;

class Scale extends autograd.Function {
  static forward(ctx: autograd.FunctionContext, x: Tensor, label: string) {
    const y = x.mul(2);
    ctx.saveForBackward(x, y);
    ctx.label = label;
    ctx.kept = x.detach();
    return [y, x.add(1)];
  }
  static backward(ctx: autograd.FunctionContext<{ kept: Tensor }, [Tensor, Tensor]>, first: Tensor, second: Tensor) {
    backward++;
    const [x, y] = ctx.savedTensors;
    if (backward % 100 === 0) throw new RangeError("own");
    return [first.mul(2).add(second).add(x.mul(0)).add(y.mul(0)).add(ctx.kept.mul(0)), null];
  }
}

native().setPassesElsewhere(process.argv[2] === "another");
const x = torch.ones([300], { requiresGrad: true });

function figures() {
  collectAll();
  return {
    liveTensors: torch.memory.stats().liveTensors,
    callbacks: liveCallbacks(),
    heap: process.memoryUsage().heapUsed,
  };
}

function step(i: number): void {
  const [first, second] = Scale.apply(Scale.apply(x, `${i}`)[0] as Tensor, `${i}`) as [Tensor, Tensor];
  x.grad = null;
  if (i % 2 === 0) return;
  try {
    first.add(second).sum().backward();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
}

for (let i = 0; i < 500; i++) step(i);
const before = figures();
backward = 0;
for (let i = 0; backward < 10_000; i++) step(i);
process.stdout.write(JSON.stringify({ before, after: figures(), backward }));
