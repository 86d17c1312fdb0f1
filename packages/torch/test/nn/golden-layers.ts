// Checks a layer against golden/nn-layers.json (written by make-golden-layers.py): text, names, first values, outputs,
// gradients and buffers after one pass.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as torch from "@fabric-ts/torch";
import { type nn, Tensor } from "@fabric-ts/torch";
import { assertClose } from "./close.js";

interface Golden {
  repr: string;
  keys: string[];
  parameters: number[][];
  shapes: number[][];
  outputs: number[][];
  inputGrads: (number[] | null)[];
  grads: (number[] | null)[];
  buffers: number[][];
}

const file = new URL("../../test/golden/nn-layers.json", import.meta.url);
const { cases } = JSON.parse(readFileSync(file, "utf8")) as { cases: Record<string, Golden> };

function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  return Array.isArray(value) ? value.flatMap(tensorsIn) : [];
}

/** Makes the layer from the golden seed and compares; `call` runs it on inputs of the shapes. */
export function checkGolden<M extends nn.AnyModule>(
  name: string,
  make: () => M,
  shapes: readonly number[][],
  call: (module: M, inputs: Tensor[]) => unknown = (module, inputs) => module(...inputs),
): void {
  const golden = cases[name] as Golden;
  assert.ok(golden, `there is no golden case ${name}`);
  torch.manualSeed(1234);
  const module = make();
  // Drawn in float32, computed in float64: kernels for other processors then agree to far more digits than are compared.
  const drawn = shapes.map((shape) => torch.randn(shape));
  module.double();
  const inputs = drawn.map((input) => input.double().requiresGrad_());
  assert.equal(String(module), golden.repr);
  assert.deepEqual(Object.keys(module.stateDict()), golden.keys);
  module.parameters().forEach((p, i) => {
    assertClose(p, golden.parameters[i] as number[], `parameter ${i}`);
  });
  const outputs = tensorsIn(call(module, inputs));
  assert.deepEqual(
    outputs.map((output) => output.shape),
    golden.shapes,
  );
  outputs.forEach((output, i) => {
    assertClose(output, golden.outputs[i] as number[], `output ${i}`);
  });
  const loss = outputs.map((output) => output.square().sum()).reduce((a, b) => a.add(b));
  loss.backward();
  const gradients = (tensors: Tensor[], expected: (number[] | null)[], what: string): void => {
    tensors.forEach((tensor, i) => {
      const wanted = expected[i] ?? null;
      if (wanted === null) assert.equal(tensor.grad, null, `${what} ${i}`);
      else assertClose(tensor.grad as Tensor, wanted, `${what} ${i}`);
    });
  };
  gradients(inputs, golden.inputGrads, "gradient of input");
  gradients(module.parameters(), golden.grads, "gradient of parameter");
  module.buffers().forEach((buffer, i) => {
    assertClose(buffer, golden.buffers[i] as number[], `buffer ${i}`);
  });
}
