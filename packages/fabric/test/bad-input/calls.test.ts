// Wrong objects, and calls in a wrong order.
import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data, nn, optim } from "@fabric-ts/torch";
import { any, fabric, loader, model, optimizer, raw, rawOptimizer, refuses, x } from "./support.js";

refuses("wrong objects and a wrong order of calls", [
  [
    "the model instead of its parameters",
    () => new optim.SGD(any(raw), { lr: 0.1 }),
    "TypeError",
    /a Linear/,
    /new SGD\(model\.parameters\(\), \.\.\.\)/,
  ],
  ["no parameters", () => new optim.SGD([], { lr: 0.1 }), "ConfigurationError", /empty list/, /model\.parameters\(\)/],
  [
    "a result as a parameter",
    () => new optim.SGD([raw.weight.mul(1)], { lr: 0.1 }),
    "ConfigurationError",
    /MulBackward0/,
    /new nn\.Parameter/,
  ],
  [
    "the optimizer before the model",
    () => fabric.setup(any(rawOptimizer), any(raw)),
    "TypeError",
    /Module, but got an SGD/,
    /fabric\.setup\(model, optimizer\)/,
  ],
  [
    "a loader for an optimizer",
    () => fabric.setup(raw, any(loader())),
    "TypeError",
    /but got a DataLoader/,
    /fabric\.setup\(model, optimizer\)/,
  ],
  [
    "an array of optimizers",
    () => fabric.setup(raw, any([rawOptimizer])),
    "TypeError",
    /but got \[an SGD\]/,
    /without an array/,
  ],
  [
    "a model for an optimizer",
    () => fabric.setupOptimizers(any(raw)),
    "TypeError",
    /but got a Linear/,
    /fabric\.setupOptimizers\(optimizer\)/,
  ],
  [
    "a model for a loader",
    () => fabric.setupDataLoaders(any(raw)),
    "TypeError",
    /but got a Linear/,
    /new data\.DataLoader/,
  ],
  [
    "an optimizer for the options of setupModule",
    () => fabric.setupModule(raw, any(rawOptimizer)),
    "TypeError",
    /sets up a model alone/,
    /fabric\.setup\(model, optimizer\)/,
  ],
  [
    "an array of optimizers without a model",
    () => fabric.setupOptimizers(any([rawOptimizer, rawOptimizer])),
    "TypeError",
    /but got \[an SGD, an SGD\]/,
    /`fabric\.setupOptimizers\(first, second\)`/,
  ],
  [
    "two models at once",
    () => fabric.setup(raw, any(new nn.ReLU())),
    "TypeError",
    /but got a ReLU/,
    /Each model is set up by a call of its own/,
  ],
  [
    "an array of loaders",
    () => fabric.setupDataLoaders(any([loader(), loader()])),
    "TypeError",
    /but got \[a DataLoader, a DataLoader\]/,
    /`fabric\.setupDataLoaders\(first, second\)`/,
  ],
  [
    "the class of a model",
    () => fabric.setup(any(nn.ReLU)),
    "TypeError",
    /but got the function `ReLU`/,
    /That is the class: type `fabric\.setup\(new ReLU\(\)\)`/,
  ],
  [
    "a limit that is text",
    () => fabric.clipGradients(model, optimizer, any({ maxNorm: "1" })),
    "TypeError",
    /`maxNorm` to be a number from 0, but got "1"/,
    /fabric\.clipGradients\(model, optimizer, \{ maxNorm: 1 \}\)/,
  ],
  [
    "a limit that would turn the gradients around",
    () => fabric.clipGradients(model, optimizer, { clipVal: -1 }),
    "TypeError",
    /`clipVal` to be a number from 0, but got -1/,
    /\{ clipVal: 1 \}/,
  ],
  [
    "Python's name of the infinite norm",
    () => fabric.clipGradients(model, optimizer, any({ maxNorm: 1, normType: "inf" })),
    "TypeError",
    /`normType` to be a number, but got "inf"/,
    /normType: Infinity/,
  ],
  [
    "the source of a broadcast by name",
    () => fabric.broadcast(1, any({ src: 1 })),
    "TypeError",
    /`src` to be a rank, but got an object/,
    /fabric\.broadcast\(value, 1\)/,
  ],
  [
    "a metric that was not awaited",
    () => fabric.log("loss", fabric.allReduce(1)),
    "TypeError",
    /is a promise/,
    /await fabric\.allReduce\(loss\)/,
  ],
  [
    "a metric without a name",
    () => fabric.log(any(0.5), "loss"),
    "TypeError",
    /name of the metric to be a string, but got 0\.5/,
    /fabric\.log\("loss", loss, step\)/,
  ],
  [
    "a seed that is text",
    () => fabric.seedEverything(any("42")),
    "TypeError",
    /`seed` to be a number, but got "42"/,
    /seedEverything\(42\)/,
  ],
  [
    "the time as a seed",
    () => fabric.seedEverything(2 ** 32 + 7),
    "ConfigurationError",
    /not in bounds/,
    /Everything\(7\)/,
  ],
  [
    "a result instead of a callback",
    () => torch.noGrad(any(x)),
    "TypeError",
    /`callback` to be a function, but got a Tensor/,
    /noGrad\(\(\) => \.\.\.\)/,
  ],
  [
    "a result instead of the body of a context",
    () => fabric.autocast(any(x)),
    "TypeError",
    /body of `fabric\.autocast` to be a function, but got a Tensor/,
    /`fabric\.autocast\(\(\) => \.\.\.\)`/,
  ],
  [
    "a result instead of options and body",
    () => fabric.noBackwardSync(model, any(model(x))),
    "TypeError",
    /options of noBackwardSync to be an object, but got a Tensor/,
    /it takes `enabled`/,
  ],
  [
    "a step that is a tensor",
    () => fabric.log("loss", 0.5, any(torch.tensor(3))),
    "TypeError",
    /but got a Tensor/,
    /it takes `step`, `every`/,
  ],
  [
    "a parameter that is changed in place",
    () => raw.weight.mul_(0.9),
    "TorchError",
    /leaf Variable/,
    /torch\.noGrad\(\(\) => parameter\.mul_\(0\.9\)\)/,
  ],
  [
    "a hook that is async",
    () => {
      using _ = model.registerForwardHook(any(async () => undefined));
      model(x);
    },
    "TypeError",
    /hook returned a promise/,
    /plain function/,
  ],
  ["setup twice", () => fabric.setup(any(model)), "ConfigurationError", /only once/, /set up already: use it as it is/],
  ["an optimizer twice", () => fabric.setup(raw, any(optimizer)), "ConfigurationError", /only once/, /use it as it is/],
  ["a number as the loss", () => fabric.backward(any(3)), "TypeError", /but got 3/, /rather than `loss\.item\(\)`/],
  [
    "a loss without history",
    () => fabric.backward(torch.ones([])),
    "UsageError",
    /has no history/,
    /outside of `noGrad`/,
  ],
  [
    "backward twice",
    () => {
      const loss = model(x).square().sum();
      fabric.backward(loss);
      fabric.backward(loss);
    },
    "TorchError",
    /through the graph a second time/,
    /retain_?graph/i,
  ],
  [
    "noBackwardSync of a raw model",
    () => fabric.noBackwardSync(any(raw), {}, () => 1),
    "TypeError",
    /set up the model first/,
    /fabric\.setup\(rawModel/,
  ],
  [
    "a method that is none",
    () => model.markForwardMethod(any("generat")),
    "UsageError",
    /`Linear\.generat` does not exist/,
    /Give one of the methods/,
  ],
  [
    "two methods at once",
    () => any(model).markForwardMethod("a", "b"),
    "TypeError",
    /marks one method, but got \["a", "b"\]/,
    /once for each/,
  ],
  ["launch of a result", () => fabric.launch(any(3)), "TypeError", /but got 3/, /launch\(yourFn\)/],
  ["arithmetic with operators", () => any(x) + any(x), "TypeError", /do not work on tensors/, /`x\.add\(y\)`/],
  [
    "tensors of other lengths in one dataset",
    () => new data.TensorDataset(x, torch.ones([3])),
    "ConfigurationError",
    /\[4, 3\] and \[3\]/,
    /have to agree/,
  ],
]);

const unlaunched = new Fabric({ accelerator: "cpu", devices: 2, strategy: "ddp" });
const launchFirst: [name: string, call: () => unknown][] = [
  ["setup", () => unlaunched.setup(raw, rawOptimizer)],
  ["setupModule", () => unlaunched.setupModule(raw)],
  ["setupOptimizers", () => unlaunched.setupOptimizers(rawOptimizer)],
  ["setupDataLoaders", () => unlaunched.setupDataLoaders(loader())],
  ["barrier", () => unlaunched.barrier()],
  ["broadcast", () => unlaunched.broadcast(1)],
  ["allGather", () => unlaunched.allGather(1)],
  ["allReduce", () => unlaunched.allReduce(1)],
  ["save", () => unlaunched.save("never.ckpt", {})],
  ["load", () => unlaunched.load("never.ckpt")],
];
refuses(
  "a Fabric of two devices that was not launched",
  launchFirst.map(([name, call]) => [
    name,
    call,
    "UsageError",
    /you must call `\.launch\(\)`/,
    /Add `await fabric\.launch\(\);`/,
  ]),
);
