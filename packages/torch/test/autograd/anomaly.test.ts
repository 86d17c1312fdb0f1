// Where a wrong gradient comes from.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { autograd, nn, type Tensor } from "@fabric-ts/torch";
import { onBothThreads } from "../support/engine.js";

const { detectAnomaly } = autograd;

class Root extends nn.Module<[Tensor], Tensor> {
  forward(x: Tensor) {
    return x.sqrt();
  }
}

const bad = (): Tensor => torch.tensor([-1], { dtype: "float64", requiresGrad: true });

function messageOf(body: () => void): string {
  try {
    body();
  } catch (error) {
    return (error as Error).message;
  }
  return assert.fail("nothing was thrown");
}

onBothThreads("a NaN gradient is an error with the JavaScript lines of the forward call and none of ours", () => {
  const text = messageOf(() => detectAnomaly(() => new Root()(bad()).mul(2).sum().backward()));
  assert.match(text, /^Function 'SqrtBackward0' returned nan values in its 0th output\.\n/);
  assert.match(text, /The forward call that SqrtBackward0 belongs to:\n {4}at Root.forward .*anomaly\.test\.[jt]s:\d+/);
  assert.doesNotMatch(text, /torch\/(dist|src)\//);
  bad().sqrt().sum().backward();
});

onBothThreads("a function made by a backward pass names that pass's forward call as well", () => {
  function distance(x: Tensor): Tensor {
    return x.sqrt();
  }
  const text = messageOf(() =>
    detectAnomaly(() => {
      const x = torch.tensor([0], { dtype: "float64", requiresGrad: true });
      // The first derivative is infinite, the second one 0 * infinity.
      const [first] = autograd.grad(distance(x), x, { createGraph: true });
      (first as Tensor).pow(-1).backward();
    }),
  );
  assert.match(
    text,
    /made by the backward pass through SqrtBackward0, whose forward call is:\n {4}at distance .*anomaly/,
  );
});

test("an error in a function of the user's own arrives as it is, and its forward call in a warning", async () => {
  const own = new RangeError("own");
  class Fails extends autograd.Function {
    static forward(_: autograd.FunctionContext, x: Tensor) {
      return x.clone();
    }
    static backward(): Tensor {
      throw own;
    }
  }
  const warned = new Promise<Error>((resolve) => {
    process.once("warning", resolve);
  });
  assert.throws(
    () => detectAnomaly(() => Fails.apply(bad()).backward()),
    (error) => error === own,
  );
  const { name, message } = await warned;
  assert.equal(name, "AnomalyWarning");
  assert.match(message, /The forward call that FailsBackward belongs to:\n {4}at .*anomaly\.test/);
});

test("what ran outside is said to have no lines", () => {
  const y = bad().sqrt().sum();
  const text = messageOf(() => detectAnomaly(() => y.backward()));
  assert.match(text, /SqrtBackward0[\s\S]*made outside of detectAnomaly/);
});

test("other errors of backward name the forward call, too, and checkNan can be left out", () => {
  const text = messageOf(() =>
    detectAnomaly(() => {
      const x = bad().mul(1);
      const y = x.exp();
      y.add_(1);
      y.sum().backward();
    }),
  );
  assert.match(text, /modified by an inplace operation[\s\S]*The forward call that ExpBackward0 belongs to:\n {4}at /);
  detectAnomaly(() => bad().sqrt().sum().backward(), { checkNan: false });
  assert.throws(() => detectAnomaly({ checkNan: 1 as never }), /Expected `checkNan` to be a boolean, but got 1/);
});

test("detectAnomaly takes its options before the callback, too, and ends with it", () => {
  const backward = (): void => new Root()(bad()).sum().backward();
  assert.throws(() => detectAnomaly({ checkNan: true }, backward), /returned nan values/);
  assert.equal(
    detectAnomaly({ checkNan: false }, () => {
      backward();
      return 5;
    }),
    5,
  );
  backward();
  assert.throws(() => detectAnomaly({ check_nan: false } as never, backward), /It is called `checkNan` here/);
});
