// Gradients that would silently stay on one rank are an error; those that are meant to are not.
import assert from "node:assert/strict";
import test from "node:test";
import { groupValues } from "../support/group.js";

const run = <T>(name: string, ranks = 2) =>
  groupValues<T>(import.meta.url, "./ranks/local-gradients.js", name, { ranks });

interface Failure {
  name: string;
  code: string;
  message: string;
}

test("a pass around the wrapper, through a layer, or a second backward pass of one call is refused", async () => {
  for (const result of await run<Record<string, Failure>>("refused")) {
    for (const [title, failure] of Object.entries(result)) {
      assert.equal(failure?.code, "ERR_GRADIENT_NOT_AVERAGED", title);
      assert.match(
        failure.message,
        /^The gradient of `(first|second)\.(weight|bias)` would not be averaged over the ranks/,
      );
      assert.match(failure.message, /not with `model\.module\(x\)` or a layer[\s\S]*noSync\(\)/);
    }
    assert.deepEqual(Object.keys(result), ["whole", "layer", "second", "again"]);
  }
});

test("summed losses, gradients without accumulation, noSync and shared parameters are fine", async () => {
  for (const result of await run<Record<string, unknown>>("allowed")) {
    const { wrappers, left, nested, ...rest } = result;
    assert.deepEqual([...new Set(Object.values(rest))], [null], JSON.stringify(rest));
    assert.deepEqual(wrappers, [null, null]);
    assert.equal(left, "ERR_GRADIENT_NOT_AVERAGED");
    assert.match((nested as Failure).message, /wrapped in DistributedDataParallel already/);
  }
});

test("in a world of one nothing has to be averaged", async () => {
  const [result] = await run<Record<string, Failure | null>>("refused", 1);
  assert.deepEqual(result, { whole: null, layer: null, second: null, again: null });
});
