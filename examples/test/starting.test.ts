// The examples of the minimal loop and of ways to start it.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { find, run } from "./run-example.js";

describe("the minimal example", () => {
  for (const [where, processes] of [
    ["", 1],
    ["--devices 2", 2],
    ["--devices 2 --precision bf16-mixed", 2],
  ] as const) {
    it(`learns${where === "" ? "" : ` with ${where}`}`, async () => {
      const output = await run(`npx tsx examples/minimal/train.ts ${where} --epochs 15`.replace("  ", " "));
      const [world, accuracy = 0] = find(output, /(\d) process\(es\): ([\d.]+) % of new points right/);
      assert.equal(world, processes);
      assert.ok(accuracy > 90, output);
    });
  }

  it("says what its options are", async () => {
    const output = await run("npx tsx examples/minimal/train.ts --epoch 3", { code: 2 });
    assert.match(output, /Unknown option '--epoch'.*\nUsage: npx tsx .*minimal\/train\.ts .*\[--epochs 20\]\n$/);
    const wrong = await run("npx tsx examples/minimal/train.ts --devices two", { code: 2 });
    assert.match(wrong, /^--devices has to be a whole number, but is "two"\./);
  });
});

describe("ways to start", () => {
  const lossOf = (output: string) => find(output, /loss ([\d.]+) after \d+ epochs on (\d) process\(es\)/);

  for (const devices of [1, 2]) {
    it(`a subclass with \`run\`, on ${devices}`, async () => {
      const output = await run(`npx tsx examples/ways-to-start/subclass.ts --devices ${devices}`);
      const [loss = 1, processes] = lossOf(output);
      assert.ok(loss < 0.3, output);
      assert.equal(processes, devices);
    });
    it(`a function in processes of its own, whose result comes back, on ${devices}`, async () => {
      const output = await run(`npx tsx examples/ways-to-start/spawn.ts --devices ${devices}`);
      const [here, there, processes] = find(
        output,
        /process (\d+) goes on with weights from process (\d+), one of (\d)/,
      );
      assert.equal(processes, devices);
      assert.equal(here === there, devices === 1);
      assert.ok((find(output, /([\d.]+) % of new points right/)[0] ?? 0) > 85, output);
    });
  }

  it("a script without `launch()`, under `fabric run` and without", async () => {
    const script = "examples/ways-to-start/without-launch.ts --epochs 10";
    for (const [command, expected] of [
      [`npx fabric run --accelerator cpu --devices 2 --strategy ddp ${script}`, 2],
      [`npx tsx ${script}`, 1],
    ] as const) {
      const [loss = 1, processes] = lossOf(await run(command));
      assert.ok(loss < 0.3);
      assert.equal(processes, expected);
    }
  });
});
