// Checkpoints that are damaged, foreign or missing, that do not fit, and what cannot be saved.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import * as torch from "@fabric-ts/torch";
import { nn, optim } from "@fabric-ts/torch";
import { any, type Case, fabric, model, raw, rawOptimizer, refuses } from "./support.js";

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
  await fabric.save(file("cut.safetensors"), { model: raw });
  writeFileSync(file("cut.safetensors"), readFileSync(file("cut.safetensors")).subarray(0, 100));
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
  [
    "cut.safetensors",
    /is damaged: its safetensors header should have \d+ bytes, but the file has 100/,
    /copy the file again/,
  ],
  ["empty.ckpt", /is damaged: it is empty/, /Load an earlier checkpoint/],
  ["image.ckpt", /it is neither a zip archive nor a safetensors file/, another],
  ["json.ckpt", /it is neither a zip archive nor a safetensors file/, another],
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
  [
    "a whole checkpoint for a model",
    async () => raw.loadStateDict(any(await torch.load(file("whole.ckpt")))),
    "UsageError",
    /Missing key\(s\) in state_dict: "weight", "bias"/,
    /in its entry `model`: pass `state\.model` \(with Fabric `fabric\.load\(path, \{ model: model \}\)`\)/,
  ],
  [
    "a checkpoint that was not awaited",
    () => raw.loadStateDict(any(torch.load(file("whole.ckpt"))), { strict: false }),
    "TypeError",
    /but got a Promise/,
    /model\.loadStateDict\(await torch\.load\(path\)\)/,
  ],
  [
    "a Map to load into",
    () => fabric.load(file("whole.ckpt"), new Map([["model", raw]])),
    "TypeError",
    /state of `load` to be an object, but got a Map/,
    /Object\.fromEntries\(map\)/,
  ],
  [
    "an array to load into",
    () => fabric.load(file("whole.ckpt"), [raw, rawOptimizer]),
    "TypeError",
    /but got \[a Linear, an SGD\]/,
    /fabric\.load\(path, \{ model, optimizer \}\)/,
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
    "nested arrays for its tensors",
    () => raw.loadStateDict(any(JSON.parse(JSON.stringify(new nn.Linear(3, 8).stateDict())))),
    "UsageError",
    /"weight", expected a Tensor.*received an array of 8\./,
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

const nameless: [name: string, state: object, fault: RegExp][] = [
  ["a model alone", model, /but got a FabricModule/],
  ["an optimizer alone", rawOptimizer, /but got an SGD/],
  ["an array", [raw, rawOptimizer], /but got \[a Linear, an SGD\]/],
  ["a Map", new Map([["model", raw]]), /but got a Map/],
  ["a Set", new Set([raw]), /but got a Set/],
  ["a tensor", torch.ones([2]), /but got a Tensor/],
  ["a promise", Promise.resolve({ model: raw }), /but got a Promise/],
];
refuses(
  "a state without names, of which nothing would be saved",
  nameless.map(
    ([name, state, fault]): Case => [
      name,
      () => fabric.save(file("never.ckpt"), state),
      "TypeError",
      fault,
      /fabric\.save\(path, /,
    ],
  ),
);

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
