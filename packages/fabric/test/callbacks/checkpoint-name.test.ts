// How checkpoints are called.
import assert from "node:assert/strict";
import { it } from "node:test";
import { CheckpointName } from "../../dist/callbacks/checkpoint-name.js";

const values = { epoch: 3, step: 120, loss: 0.12345678, "val/loss": 12, bad: Number.NaN, small: -0.5 };
const name = (pattern?: string, autoInsert = true): string => new CheckpointName(pattern, autoInsert).of(values);

it("without a pattern a name has the epoch and the step that are known", () => {
  assert.equal(name(), "epoch=3-step=120");
  assert.equal(new CheckpointName(undefined, false).of({ step: 5, loss: 1 }), "5");
});
it("values have Python's formats", () => {
  assert.equal(name("{epoch:03d}-{loss:.2f}", false), "003-0.12");
  assert.equal(name("{step}-{loss}-{loss:f}-{loss:.1e}-{step:.1f}", false), "120-0.123457-0.123457-1.2e-01-120.0");
  assert.equal(name("{small:06.1f}|{epoch:4d}|{small:.0f}", false), "-000.5|   3|-1");
  assert.equal(name("{bad:.2f}"), "bad=NaN");
});
it("names of metrics stand before them, and make no folders", () => {
  assert.equal(name("run-{val/loss:d}-{loss:.1f}"), "run-val_loss=12-loss=0.1");
});
it("a value that is not there is an error that names those that are", () => {
  assert.throws(
    () => name("{acc}"),
    /needs `acc`, which the hook was not given.\nIt was given: epoch, step, loss, val\/loss/,
  );
});
