// Twenty steps of four models with PyTorch's bits: losses, gradient norms, inputs, logits, gradients and weights. The golden
// files are Python's, of PyTorch 1.13 with fixed kernels; where they do not hold, Python on this machine says what is right.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { versions } from "@fabric-ts/torch";
import {
  difference,
  goldenHolds,
  goldenKernels,
  lossDistance,
  noPeer,
  readGolden,
  runOurs,
  runPython,
} from "../support/trajectory.js";

// Other kernels, another BLAS or another version change the last bits only: up to 1e-4 of a loss after 20 steps.
const CLOSE = 1e-3;

function reproduces(t: TestContext, golden: string, ours: readonly string[], python: readonly string[]): void {
  const expected = readGolden(golden);
  const found = runOurs(ours, goldenKernels);
  const fromGolden = difference(found, expected);
  if (goldenHolds && fromGolden === null) return;
  const reason = goldenHolds
    ? `${golden}.json does not hold on this machine (${fromGolden})`
    : `${golden}.json is of PyTorch 1.13, the engine is LibTorch ${versions().torch}`;
  if (noPeer === false) {
    t.diagnostic(`${reason}; compared with Python on this machine`);
    assert.equal(difference(found, runPython(python, goldenKernels)), null, reason);
    return;
  }
  const distance = lossDistance(found, expected);
  assert.ok(distance === null || distance < CLOSE, `${reason}, and losses are off by ${distance}`);
  assert.ok(distance !== null || !goldenHolds, `${reason}, and the random numbers are others`);
  t.skip(`${reason}, and ${noPeer}`);
}

for (const name of ["mlp", "convnet", "gpt", "gpt_clip"]) {
  for (const through of ["torch", "fabric"]) {
    test(`${name} through ${through} has Python's bits`, (t) => {
      reproduces(t, name, [name, "--through", through], [name]);
    });
  }
}

test("mlp on two processes through Fabric has the bits of Python's DistributedDataParallel", (t) => {
  reproduces(t, "ddp_mlp", ["mlp", "--through", "fabric", "--devices", "2"], ["mlp", "2"]);
});

test("convnet with this machine's own kernels has the bits of Python's run here", { skip: noPeer }, () => {
  assert.equal(difference(runOurs(["convnet"]), runPython(["convnet"])), null);
});
