// Worker threads that end while functions of theirs are in graphs: by returning, by `process.exit` inside a backward pass and by
// `terminate`. Prints what the process still holds, and gradients of the main thread taken meanwhile and afterwards.
import { once } from "node:events";
import { isMainThread, parentPort, threadId, Worker, workerData } from "node:worker_threads";
import * as torch from "@fabric-ts/torch";
import { autograd, type Tensor } from "@fabric-ts/torch";
import { native } from "../../../dist/native.js";
import { collectAll, liveCallbacks } from "../../support/engine.js";

let ending = "";

class Double extends autograd.Function {
  static forward(ctx: autograd.FunctionContext, x: Tensor) {
    ctx.saveForBackward(x);
    return x.mul(2);
  }
  static backward(ctx: autograd.FunctionContext<object, [Tensor]>, grad: Tensor) {
    const [x] = ctx.savedTensors;
    if (ending === "exit") process.exit(0);
    return grad.mul(2).add(x.mul(0));
  }
}

function gradient(): unknown {
  const x = torch.ones([2], { requiresGrad: true });
  const y = Double.apply(x);
  y.registerHook((grad) => grad.mul(5));
  y.sum().backward();
  return x.grad?.tolist();
}

const kept: unknown[] = [];

function work(): void {
  for (let i = 0; i < 20; i++) {
    const x = torch.ones([2], { requiresGrad: true });
    const hooked = x.mul(1);
    hooked.registerHook((grad) => grad.add(threadId));
    kept.push(
      autograd.graph.savedTensorsHooks(
        (tensor) => ({ tensor }),
        ({ tensor }: { tensor: Tensor }) => tensor,
        () => Double.apply(hooked.exp()),
      ),
    );
  }
  // Hooks that are in force when the thread ends.
  kept.push(
    autograd.graph.savedTensorsHooks(
      (tensor) => tensor,
      (tensor: Tensor) => tensor,
    ),
  );
  gradient();
  parentPort?.postMessage("ready");
  ending = workerData as string;
  if (ending === "exit") gradient();
  while (ending === "terminate") gradient();
}

async function main(): Promise<void> {
  native().setPassesElsewhere(process.argv[2] === "another");
  const codes: Record<string, number> = {};
  const before = liveCallbacks();
  for (let round = 0; round < 3; round++) {
    const workers = ["return", "exit", "terminate"].map(async (how) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: how });
      const ended = once(worker, "exit");
      await once(worker, "message");
      if (how === "terminate") await worker.terminate();
      codes[how] = (await ended)[0] as number;
    });
    gradient();
    await Promise.all(workers);
  }
  collectAll();
  process.stdout.write(JSON.stringify({ codes, alive: liveCallbacks() - before, gradient: gradient() }));
}

if (isMainThread) await main();
else work();
