import assert from "node:assert/strict";
import { it } from "node:test";
import { checkLaunched } from "../../dist/launchers/launched-function.js";

function declared(_fabric: unknown): void {}
function withDefault(_fabric: unknown = null): void {}
function fromArguments(): number {
  // biome-ignore lint/complexity/noArguments: what old code does
  return arguments.length;
}
class Trainer {
  train(_fabric: unknown): void {}
  rest(): void {}
}
const trainer = new Trainer();

it("accepts every function that has a place for the Fabric object", () => {
  const accepted = [
    declared,
    withDefault,
    fromArguments,
    (_fabric: unknown) => {},
    async (..._all: unknown[]) => {},
    async ({ device: _ }: { device: string }) => {},
    trainer.train,
    trainer.rest.bind(trainer),
    Math.max,
    function* (_fabric: unknown) {},
  ];
  for (const fn of accepted) checkLaunched(fn);
});

it("refuses functions without parameters", () => {
  const refused = [
    () => {},
    async () => {},
    function none() {},
    trainer.rest,
    // biome-ignore format: comments where parameters would be
    (/* nothing */) => {},
    (() => (x: unknown) => x) as () => unknown,
  ];
  for (const fn of refused) {
    assert.throws(() => checkLaunched(fn), {
      name: "TypeError",
      message:
        /`Fabric\.launch\(function=\.\.\.\)` needs to take at least one argument.*\nThe launcher will pass in the `Fabric` object/,
    });
  }
});

it("refuses what is no function, and says what to type", () => {
  for (const value of [3, "train", null, Promise.resolve(), {}]) {
    assert.throws(() => checkLaunched(value), {
      name: "TypeError",
      message:
        /needs to be a callable, but got .*\nHINT: do `\.launch\(yourFn\)` instead of `\.launch\(yourFn\(\)\)`\./,
    });
  }
});
