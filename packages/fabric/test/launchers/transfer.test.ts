// What of the arguments of a launched function is sent, in which form, and what is refused.
import assert from "node:assert/strict";
import { it } from "node:test";
import { distributed, nn, optim, Tensor, tensor } from "@fabric-ts/torch";
import { checkResult, packArguments, unpackArguments } from "../../dist/launchers/transfer.js";
import { writeForOthers } from "../../dist/launchers/worker.js";

function sent(args: unknown[], own: unknown[] = args): unknown[] {
  const bytes = distributed.encodeObject(packArguments(args));
  return unpackArguments(distributed.decodeObject(bytes) as ReturnType<typeof packArguments>, own);
}

it("data arrives as it was", () => {
  const shared = { x: 1 };
  const data = [
    [1, "a", true, null, undefined, 5n, Number.NaN],
    { list: [shared, shared], map: new Map([["k", new Set([1])]]), when: new Date(3), bytes: new Uint8Array([1, 2]) },
    JSON.parse('{"__proto__": 1}'),
    /x/g,
  ];
  const arrived = sent(data);
  assert.deepEqual(arrived, data);
  const { list } = arrived[1] as { list: unknown[] };
  assert.equal(list[0], list[1]);
  const circular: unknown[] = [];
  circular.push(circular);
  const [back] = sent([circular]) as [unknown[]];
  assert.equal(back[0], back);
});

it("tensors arrive as tensors, wherever they are", () => {
  const [value] = sent([{ deep: [new Map([["t", tensor([1, 2])]])] }]) as [{ deep: [Map<string, Tensor>] }];
  const found = value.deep[0].get("t");
  assert.ok(found instanceof Tensor);
  assert.deepEqual(found.tolist(), [1, 2]);
});

it("models and optimizers arrive as the receiver's own, in the sender's state", () => {
  const make = (value: number) => {
    const model = new nn.Linear(1, 1);
    model.weight.data = tensor([[value]], { dtype: "float32" });
    return { nested: [model], optimizer: new optim.SGD(model.parameters(), { lr: value }) };
  };
  const theirs = make(5);
  const mine = make(1);
  const [arrived] = sent([theirs], [mine]) as [typeof mine];
  assert.equal(arrived.nested[0], mine.nested[0]);
  assert.equal(mine.nested[0]?.weight.item(), 5);
  assert.equal(arrived.optimizer, mine.optimizer);
  assert.equal(mine.optimizer.paramGroups[0]?.lr, 5);
});

it("a receiver that has made something else says so", () => {
  const text =
    /Argument 2, `\.model`, of `fabric\.launch\(\)` has a state in the launching process, but is undefined in this rank/;
  assert.throws(() => sent([{ model: new nn.Linear(1, 1) }], [{}]), text);
  assert.throws(() => sent([{ model: new nn.Linear(1, 1) }], []), text);
});

it("functions, symbols and objects of classes are refused with their places", () => {
  class Dataset {}
  for (const [value, text] of [
    [() => 1, /^Argument 2 of .* it is the function/],
    [Symbol("s"), /^Argument 2 of .* it is Symbol\(s\)/],
    [new Dataset(), /^Argument 2 of .* it is a Dataset\.\nSend plain data.*each rank has its own/s],
    [{ a: [1, { b: new Dataset() }] }, /^Argument 2, `\.a\[1\]\.b`, of /],
    [new Map([[1, new Dataset()]]), /^Argument 2, `\[0\]\[1\]`, of /],
    [Promise.resolve(1), /^Argument 2 of .* it is a Promise/],
    [new WeakMap(), /it is a WeakMap/],
  ] as const) {
    assert.throws(() => packArguments([value]), { name: "TypeError", message: text });
  }
  assert.throws(
    () => packArguments([1, new nn.Linear(1, 1)], { ownObjects: false }),
    /^TypeError: Argument 3 of .* a Linear/,
  );
});

it("results are checked in the same way", () => {
  checkResult({ loss: tensor([1]), history: [1, 2], best: new Map([["epoch", 3]]) });
  assert.throws(
    () => checkResult(new nn.Linear(1, 1)),
    /^TypeError: The result of .* a Linear\.\nReturn plain data and tensors/,
  );
  assert.throws(() => checkResult({ model: [new nn.Linear(1, 1)] }), /The result, `\.model\[0\]`, of /);
});

it("what cannot be written is an error that says which part, how much and where to make room", () => {
  const path = "/proc/nowhere/file";
  const args = { args: packArguments([tensor([1, 2])]), random: null, program: null };
  assert.throws(() => writeForOthers(path, args), {
    name: "ConfigurationError",
    message:
      /^The arguments of `fabric\.launch\(\)`, \d+ bytes, cannot be written .*ENOENT.*\nSet TMPDIR to a folder that has room/,
  });
  assert.throws(
    () => writeForOthers(path, { value: 1 }),
    /^ConfigurationError: The result of `fabric\.launch\(\)`, \d+ bytes/,
  );
});
