// What users do wrong, and what they are told: one or two sentences that name the fault, then the next move. Nothing of it
// breaks the process: a step of training works after each.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data, nn, optim, type Tensor } from "@fabric-ts/torch";

/** A title, the call, the error's class, what its message says, and what the user is told to do. */
type Case = [title: string, call: () => unknown, name: string, fault: RegExp, nextMove: RegExp];

const fabric = new Fabric({ accelerator: "cpu" });
const ready = new nn.Linear(3, 2);
const [model, optimizer] = fabric.setup(ready, new optim.SGD(ready.parameters(), { lr: 0.1 }));
const raw = new nn.Linear(3, 2);
const rawOptimizer = new optim.SGD(raw.parameters(), { lr: 0.1 });
const x = torch.ones([4, 3]);
const loader = (): data.DataLoader<Tensor[], Tensor[]> =>
  new data.DataLoader(new data.TensorDataset(x), { batchSize: 2 }) as never;
const disposed = torch.ones([3]);
disposed.dispose();

// The compiler refuses most of this; plain JavaScript does not.
// biome-ignore lint/suspicious/noExplicitAny: calls with wrong types are what is tested
const any = (value: unknown): any => value;

function trainStep(): void {
  optimizer.zeroGrad();
  const loss = nn.functional.mseLoss(model(x), torch.ones([4, 2]));
  fabric.backward(loss);
  optimizer.step();
  assert.ok(Number.isFinite(loss.item()));
}

function refuses(title: string, cases: readonly Case[]): void {
  describe(title, () => {
    for (const [name, call, className, fault, nextMove] of cases) {
      it(name, async () => {
        const error = await failure(call);
        assert.equal(error.name, className, error.message);
        assert.match(error.message, fault);
        assert.match(error.message, nextMove);
        assert.doesNotMatch(error.message, /frame #|\[native code\]|\bat .*:\d+:\d+/);
        trainStep();
      });
    }
  });
}

async function failure(call: () => unknown): Promise<Error> {
  let result: unknown;
  try {
    result = await call();
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  return assert.fail(`nothing was thrown; the result is ${String(result)}`);
}

// The engine's own errors end with the call as it was made and the operator's arguments.
const theCall = /\n {2}in \w+\(.*\n {2}of aten::\w+/;

refuses("a wrong shape", [
  [
    "of a layer's input",
    () => raw(torch.ones([4, 5])),
    "TorchError",
    /mat1 and mat2 shapes cannot be multiplied \(4x5 and 3x2\)/,
    /in linear\(Tensor float32 \[4, 5\], Tensor float32 \[2, 3\], Tensor float32 \[2\]\)/,
  ],
  ["of a wrapped model's input", () => model(torch.ones([4, 5])), "TorchError", /4x5 and 3x2/, theCall],
  ["of operands", () => x.add(torch.ones([4, 2])), "TorchError", /size of tensor a \(3\) must match/, theCall],
  [
    "of a target",
    () => nn.functional.crossEntropy(x, torch.ones([3], { dtype: "int64" })),
    "TorchError",
    /Expected input batch_size \(4\) to match target batch_size \(3\)/,
    theCall,
  ],
  [
    "of images",
    () => new nn.Conv2d(3, 4, 3)(torch.ones([1, 1, 8, 8])),
    "TorchError",
    /to have 3 channels, but got 1/,
    theCall,
  ],
  [
    "of what is normalized",
    () => new nn.BatchNorm2d(3)(torch.ones([2, 3])),
    "ConfigurationError",
    /BatchNorm2d got an input of shape \[2, 3\]/,
    /It takes the shape \[N, C, H, W\]/,
  ],
  [
    "of nested arrays",
    () => torch.tensor([[1, 2], [3]]),
    "TypeError",
    /`data\[1\]` has length 1, but the first array at its level has length 2/,
    /must have equal lengths/,
  ],
  [
    "of a loss that goes backward",
    () => fabric.backward(model(x)),
    "UsageError",
    /needs a tensor with one element, but this one has 8/,
    /loss\.mean\(\)/,
  ],
  [
    "of what becomes a number",
    () => x.item(),
    "UsageError",
    /exactly one element, but this one has 12/,
    /use `tolist\(\)`/,
  ],
]);

refuses("a wrong dtype", [
  [
    "of a target",
    () => nn.functional.crossEntropy(x, torch.ones([4], { dtype: "int32" })),
    "TorchError",
    /expected scalar type Long but found Int/,
    theCall,
  ],
  ["of indices", () => new nn.Embedding(4, 2)(torch.ones([2])), "TorchError", /'indices'.*Long, Int/, theCall],
  ["of an operand", () => x.matmul(torch.ones([3, 3], { dtype: "float64" })), "TorchError", /Float|dtype/i, theCall],
  [
    "that cannot have gradients",
    () => torch.tensor([1], { requiresGrad: true }),
    "UsageError",
    /Only floating-point and complex tensors.*int64/,
    /\.to\("float32"\)/,
  ],
  ["that does not exist", () => x.to(any("float31")), "TypeError", /"float31"/, /"float32"/],
]);

refuses("an unknown option", [
  [
    "of Fabric",
    () => new Fabric(any({ acelerator: "cpu" })),
    "TypeError",
    /`acelerator`/,
    /Did you mean `accelerator`/,
  ],
  ["of Fabric, as in Python", () => new Fabric(any({ num_nodes: 1 })), "TypeError", /`num_nodes`/, /`numNodes`/],
  [
    "of Fabric, without names",
    () => new Fabric(any("cpu")),
    "TypeError",
    /but got "cpu"/,
    /It takes|it takes `accelerator`/,
  ],
  [
    "accelerator",
    () => new Fabric({ accelerator: any("npu") }),
    "ConfigurationError",
    /"npu"/,
    /names are: auto, gpu, cpu/,
  ],
  ["strategy", () => new Fabric({ strategy: any("dpd") }), "ConfigurationError", /"dpd"/, /Names: auto, ddp/],
  ["precision", () => new Fabric({ precision: any("bf16-mixd") }), "ConfigurationError", /"bf16-mixd"/, /bf16-mixed/],
  [
    "devices",
    () => new Fabric({ accelerator: "cpu", devices: 0 }),
    "ConfigurationError",
    /devices: 0/,
    /at least one device/,
  ],
  [
    "devices, a word",
    () => new Fabric({ accelerator: "cpu", devices: any("x") }),
    "TypeError",
    /got "x"/,
    /an int > 0/,
  ],
  [
    "a strategy that is not there yet",
    () => new Fabric({ strategy: any("fsdp") }),
    "NotSupportedError",
    /'fsdp' is not available/,
    /Use `strategy: "ddp"`/,
  ],
  ["of a layer", () => new nn.Linear(3, 2, any({ biass: false })), "TypeError", /`biass`/, /Known options: bias/],
  [
    "of a layer, without its name",
    () => new nn.Linear(3, 2, any(false)),
    "TypeError",
    /got false/,
    /\{ bias: false \}/,
  ],
  [
    "of a layer, as in Python",
    () => new nn.Embedding(3, 2, any({ padding_idx: 0 })),
    "TypeError",
    /`padding_idx`/,
    /`paddingIdx`/,
  ],
  [
    "of another",
    () => new nn.LayerNorm(3, any({ elementwise_affine: false })),
    "TypeError",
    /`elementwise_affine`/,
    /`elementwiseAffine`/,
  ],
  [
    "of a layer that takes a number",
    () => new nn.Dropout(any({ p: 0.5 })),
    "TypeError",
    /Expected `p`/,
    /new nn\.Dropout\(0\.5\)/,
  ],
  [
    "of an optimizer",
    () => new optim.SGD(raw.parameters(), any({ rate: 1 })),
    "TypeError",
    /`rate`/,
    /Known options: lr/,
  ],
  [
    "of an optimizer, as in Python",
    () => new optim.SGD(raw.parameters(), any({ lr: 0.1, weight_decay: 0.1 })),
    "TypeError",
    /`weight_decay`/,
    /`weightDecay`/,
  ],
  [
    "of zeroGrad, as in Python",
    () => rawOptimizer.zeroGrad(any({ set_to_none: true })),
    "TypeError",
    /`set_to_none`/,
    /`setToNone`/,
  ],
  [
    "of a model's zeroGrad",
    () => raw.zeroGrad(any({ set_to_none: true })),
    "TypeError",
    /`set_to_none`/,
    /`setToNone`/,
  ],
  [
    "of a tensor, as in Python",
    () => torch.tensor([1.5], any({ requires_grad: true })),
    "TypeError",
    /`requires_grad`/,
    /`requiresGrad`/,
  ],
  ["of printing", () => torch.setPrintOptions(any({ digits: 2 })), "TypeError", /`digits`/, /Known options: precision/],
  [
    "of an operator",
    () => x.sum(1, any({ keepDim: true })),
    "TypeError",
    /no argument named `keepDim`/,
    /bool keepdim=False/,
  ],
  [
    "of a loader",
    () => new data.DataLoader([1], any({ batches: 2 })),
    "TypeError",
    /`batches`/,
    /Known options: batchSize/,
  ],
  [
    "of a loader, as in Python",
    () => new data.DataLoader([1], any({ batch_size: 2 })),
    "TypeError",
    /`batch_size`/,
    /`batchSize`/,
  ],
  ["of a loader, without its name", () => new data.DataLoader([1], any(2)), "TypeError", /got 2/, /\{ batchSize: 64/],
  [
    "of setup",
    () => fabric.setup(raw, rawOptimizer, any({ foo: 1 })),
    "TypeError",
    /`foo`/,
    /It takes `scheduler`, `moveToDevice`/,
  ],
  [
    "of setup, as in Python",
    () => fabric.setup(raw, any({ move_to_device: true })),
    "TypeError",
    /`move_to_device`/,
    /`moveToDevice`/,
  ],
  [
    "of setupDataLoaders, as in Python",
    () => fabric.setupDataLoaders(loader(), any({ use_distributed_sampler: true })),
    "TypeError",
    /`use_distributed_sampler`/,
    /`useDistributedSampler`/,
  ],
  [
    "of clipGradients",
    () => fabric.clipGradients(model, optimizer, any({ max_norm: 1 })),
    "TypeError",
    /`max_norm`/,
    /`maxNorm`/,
  ],
  [
    "of clipGradients, left out",
    () => any(fabric).clipGradients(model, optimizer),
    "TypeError",
    /got undefined/,
    /it takes `clipVal`, `maxNorm`/,
  ],
  [
    "of clipGradients, both",
    () => fabric.clipGradients(model, optimizer, any({ clipVal: 1, maxNorm: 1 })),
    "ConfigurationError",
    /Only one of/,
    /`clipVal` or `maxNorm`/,
  ],
  [
    "of backward",
    () => fabric.backward(model(x).sum(), any({ retain_graph: true })),
    "TypeError",
    /`retain_graph`/,
    /`retainGraph`/,
  ],
]);

refuses("what is no option but out of range", [
  [
    "a negative learning rate",
    () => new optim.SGD(raw.parameters(), { lr: -1 }),
    "ConfigurationError",
    /but is -1/,
    /at least 0/,
  ],
  ["no learning rate", () => new optim.SGD(raw.parameters()), "TypeError", /needs a learning rate/, /\{ lr: 0\.1 \}/],
  [
    "betas",
    () => new optim.Adam(raw.parameters(), { betas: [1, 2] }),
    "ConfigurationError",
    /\[1, 2\]/,
    /\[0\.9, 0\.999\]/,
  ],
  [
    "a batch size of zero",
    () => new data.DataLoader([1], { batchSize: 0 }),
    "ConfigurationError",
    /but is 0/,
    /batchSize: 64/,
  ],
  ["a probability", () => new nn.Dropout(2), "ConfigurationError", /but is 2/, /between 0 and 1/],
  ["a seed", () => fabric.seedEverything(-1), "ConfigurationError", /seed -1/, /from 0 to 4294967295/],
]);

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

refuses("a disposed tensor", [
  [
    "in an operator",
    () => x.add(disposed),
    "UsageError",
    /given as `other` has been disposed/,
    /Use it before `dispose\(\)`/,
  ],
  ["in a model", () => model(disposed), "UsageError", /has been disposed/, /Use it before `dispose\(\)`/],
  ["as the loss", () => fabric.backward(disposed), "UsageError", /has been disposed/, /Use it before `dispose\(\)`/],
  ["in allReduce", () => fabric.allReduce(disposed), "UsageError", /has been disposed/, /return it from the scope/],
  [
    "in a checkpoint",
    () => fabric.save(file("never.ckpt"), { disposed }),
    "UsageError",
    /value\.disposed .* has been disposed/,
    /Save before `dispose\(\)`/,
  ],
]);

refuses("a tensor where a number belongs", [
  [
    "a size of a layer",
    () => new nn.Linear(any(torch.tensor(3)), 2),
    "TypeError",
    /whole number, but got a Tensor/,
    /new nn\.Linear\(10, 2/,
  ],
  [
    "a learning rate",
    () => new optim.SGD(raw.parameters(), { lr: any(torch.tensor(0.1)) }),
    "TypeError",
    /but got a Tensor/,
    /to be a number/,
  ],
  ["a seed", () => torch.manualSeed(any(torch.tensor(1))), "TypeError", /but got a Tensor/, /a whole number/],
  [
    "a dimension",
    () => x.sum(any(torch.tensor(1))),
    "TypeError",
    /sum\(Tensor float32 \[4, 3\], Tensor int64 \[\]\)/,
    /int\[1\]\? dim/,
  ],
  [
    "a size",
    () => torch.zeros(any([torch.tensor(2), 3])),
    "TypeError",
    /zeros\(\[Tensor int64 \[\], 3\]\)/,
    /It takes:\n {2}aten::zeros/,
  ],
  ["an array for a tensor", () => raw(any([[1, 2, 3]])), "TypeError", /linear\(\[\[1, 2, 3\]\]/, /Tensor input/],
]);

const folder = mkdtempSync(join(tmpdir(), "fabric-test-"));
const file = (name: string): string => join(folder, name);
after(() => rmSync(folder, { recursive: true }));

before(async () => {
  await fabric.save(file("whole.ckpt"), { model: raw, optimizer: rawOptimizer, step: 3 });
  const whole = readFileSync(file("whole.ckpt"));
  writeFileSync(file("half.ckpt"), whole.subarray(0, whole.length >> 1));
  const changed = Buffer.from(whole);
  const weights = Buffer.from(raw.weight.detach().toTypedArray().buffer as ArrayBuffer);
  changed[changed.indexOf(weights)] = (changed[changed.indexOf(weights)] as number) ^ 1;
  writeFileSync(file("changed.ckpt"), changed);
  writeFileSync(file("empty.ckpt"), "");
  writeFileSync(file("image.ckpt"), Buffer.from("89504e470d0a1a0a0000000d4948445200000001000000010806000000", "hex"));
  writeFileSync(file("json.ckpt"), '{"model": {}}');
  // torch.save with _use_new_zipfile_serialization=False begins with its magic number, pickled; a zip that holds one text, hello.txt.
  writeFileSync(file("legacy.ckpt"), Buffer.from("80028a0a6cfc9c46f9206aa850192e80024de9032e80027d7100580d00", "hex"));
  writeFileSync(file("pickle.ckpt"), Buffer.from("80047d948c0161944b01732e", "hex"));
  writeFileSync(
    file("zip.ckpt"),
    Buffer.from(
      "504b030414000000000000002100ac2a93d802000000020000000900000068656c6c6f2e7478746869504b01021403140000" +
        "00000000002100ac2a93d8020000000200000009000000000000000000000080010000000068656c6c6f2e747874504b0506" +
        "000000000100010037000000290000000000",
      "hex",
    ),
  );
  mkdirSync(file("folder.ckpt"));
});

const resave = /Load it with Python's torch\.load and save it again/;
const another = /Name a file that was written by `save` here or by torch\.save/;
const unusable: [name: string, fault: RegExp, nextMove: RegExp][] = [
  ["half.ckpt", /half\.ckpt is damaged: its end is missing/, /Load an earlier checkpoint/],
  ["changed.ckpt", /changed\.ckpt.* is damaged/, /Load an earlier checkpoint/],
  ["empty.ckpt", /is damaged: it is empty/, /Load an earlier checkpoint/],
  ["image.ckpt", /it is no zip archive/, another],
  ["json.ckpt", /it is no zip archive/, another],
  ["legacy.ckpt", /format of PyTorch before 1\.6/, resave],
  ["pickle.ckpt", /it is a bare Python pickle/, resave],
  ["zip.ckpt", /a zip archive of something else/, another],
  ["folder.ckpt", /it is a folder/, /Name a file inside of the folder/],
  ["missing.ckpt", /(Checkpoint file not found|Could not open).*missing\.ckpt/, /Check the path/],
];
refuses(
  "a damaged, foreign or missing checkpoint",
  unusable.flatMap(([name, fault, nextMove]): Case[] => [
    [`${name}, with fabric.load`, () => fabric.load(file(name), { model }), "CheckpointError", fault, nextMove],
    [`${name}, with torch.load`, () => torch.load(file(name)), "CheckpointError", fault, nextMove],
  ]),
);

refuses("a checkpoint that does not fit", [
  [
    "a model with other names",
    () => fabric.load(file("whole.ckpt"), { model: new nn.Sequential(new nn.Linear(3, 2)) }),
    "UsageError",
    /for Sequential:\n\tMissing key\(s\) in state_dict: "0\.weight", "0\.bias"\. \n\tUnexpected key\(s\) in state_dict: "weight", "bias"/,
    /\{ strict: false \}/,
  ],
  [
    "a model with other sizes",
    () => fabric.load(file("whole.ckpt"), { model: new nn.Linear(5, 2) }),
    "UsageError",
    /size mismatch for weight: .* shape \[2, 3\] from checkpoint, the shape in current model is \[2, 5\]/,
    /create the model with the sizes it was saved with/,
  ],
  [
    "an optimizer of fewer parameters",
    () => fabric.load(file("whole.ckpt"), { optimizer: new optim.SGD([raw.weight], { lr: 0.1 }) }),
    "ConfigurationError",
    /has 2 parameters, but the optimizer's has 1/,
    /over the same parameters/,
  ],
  [
    "a name that it lacks",
    () => fabric.load(file("whole.ckpt"), { modle: raw }),
    "CheckpointError",
    /'modle'/,
    /It has: model, optimizer, step/,
  ],
  ["a number for a model", () => raw.loadStateDict(any(3)), "TypeError", /but got 3/, /Pass what `stateDict\(\)`/],
  [
    "numbers for its tensors",
    () => raw.loadStateDict(any({ weight: 3, bias: 4 })),
    "UsageError",
    /"weight", expected a Tensor.*received 3/,
    /Pass what `stateDict\(\)`/,
  ],
  [
    "a model for an optimizer",
    () => fabric.load(file("whole.ckpt"), { model: rawOptimizer }),
    "TypeError",
    /`state` and `param_groups`/,
    /optimizer\.stateDict\(\)/,
  ],
]);

refuses("what cannot be saved", [
  [
    "nothing",
    () => any(fabric).save(file("never.ckpt")),
    "TypeError",
    /but got undefined/,
    /fabric\.save\(path, \{ model, optimizer \}\)/,
  ],
  [
    "a function",
    () => fabric.save(file("never.ckpt"), { run: () => 1 }),
    "TypeError",
    /value\.run is a function/,
    /Save tensors, numbers/,
  ],
  [
    "an object of a class of the user",
    () => fabric.save(file("never.ckpt"), { user: new (class User {})() }),
    "TypeError",
    /value\.user is a User/,
    /plain objects/,
  ],
  [
    "to a folder",
    () => fabric.save(file("folder.ckpt"), { a: 1 }),
    "CheckpointError",
    /it is a folder/,
    /Name a file inside/,
  ],
  [
    "below a file",
    () => fabric.save(join(file("whole.ckpt"), "deep", "a.ckpt"), { a: 1 }),
    "CheckpointError",
    /ENOTDIR/,
    /Save to another path/,
  ],
  [
    "where the system makes no folders",
    () => fabric.save("/proc/fabric-test/deep/a.ckpt", { a: 1 }),
    "CheckpointError",
    /folder for the checkpoint cannot be made/,
    /Save to another path/,
  ],
  [
    "without a path",
    () => any(fabric).save(undefined, { a: 1 }),
    "TypeError",
    /but got undefined/,
    /"checkpoints\/last\.ckpt"/,
  ],
]);

describe("errors in a loop that catches them", () => {
  it("leave no tensors behind", () => {
    const attempt = (): void => {
      assert.throws(() => model(torch.ones([4, 5])));
    };
    torch.scope(attempt);
    const { liveTensors } = torch.memory.stats();
    for (let i = 0; i < 100; i++) torch.scope(attempt);
    assert.ok(torch.memory.stats().liveTensors <= liveTensors);
  });
});
