// What a rank tells its launcher about an error that nobody caught.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const { errorText } = require("../../dist/launchers/preload.cjs") as { errorText(error: unknown): string };
const packages = fileURLToPath(new URL("../../..", import.meta.url));

const failed = (...places: string[]): Error => {
  const error = new RangeError("too much");
  error.stack = ["RangeError: too much", ...places.map((place) => `    at ${place}`)].join("\n");
  return error;
};
const user = "async file:///home/somebody/train.js:17:59";
const own = [
  `Tensor.add (file://${packages}torch/bundle/index.js:1:2)`,
  `FabricModule.forward (${packages}fabric/src/wrappers/module.ts:3:4)`,
];

it("the frames of an error are the user's: those of Node, Fabric and the binding are left out", () => {
  const text = errorText(
    failed(...own, "process.processTicksAndRejections (node:internal/process/task_queues:95:5)", user),
  );
  assert.equal(text, `RangeError: too much\n    at ${user}`);
  const test = `file://${packages}fabric/test/program.ts:1:1`;
  assert.equal(errorText(failed(test, ...own)), `RangeError: too much\n    at ${test}`);
});

it("all are there when there are no others, and with FABRIC_DEBUG=1", () => {
  assert.equal(errorText(failed(...own)).split("\n").length, 3);
  process.env.FABRIC_DEBUG = "1";
  try {
    assert.equal(errorText(failed(...own, user)).split("\n").length, 4);
  } finally {
    delete process.env.FABRIC_DEBUG;
  }
});
