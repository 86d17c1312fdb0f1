// What would train wrongly, or hang, without a word is an error or a warning that says what to do.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { runProgram, runRanks } from "../support/run-ranks.js";

interface Report {
  local: Record<string, string | null>;
  nested: string;
  wrapped: string;
  again: string[];
  shared: string[];
  forgotten: string[];
  own: string[];
}

describe("under DDP", () => {
  let ranks: Report[];
  before(async () => {
    ranks = await runRanks<Report>("guards");
    assert.equal(ranks.length, 2);
  });

  it("gradients that go around the wrapped model are refused, unless they shall stay local", () => {
    for (const { local } of ranks) {
      for (const name of ["layer", "module", "raw"]) {
        assert.match(
          local[name] ?? "",
          /^UsageError: The gradient of `layer\.(weight|bias)` would not be averaged/,
          name,
        );
        assert.match(local[name] ?? "", /use `fabric\.noBackwardSync\(model, \.\.\.\)`/);
      }
      assert.deepEqual([local.allowed, local.evaluated], [null, null]);
    }
  });
  it("a model with a wrapped one inside cannot be set up", () => {
    for (const { nested, wrapped } of ranks) {
      assert.match(nested, /passed only once to the `setup` method, but `inner` of this Outer went through it already/);
      assert.match(wrapped, /^ConfigurationError: The model is wrapped in DistributedDataParallel already/);
    }
  });
  it("a model that is set up a second time is mentioned, on rank zero", () => {
    assert.equal(ranks[0]?.again.length, 1);
    assert.match(ranks[0]?.again[0] ?? "", /^This MyModel was set up before/);
    assert.deepEqual(ranks[1]?.again, []);
  });
  it("ranks that train on the same data hear of it, and others do not", () => {
    assert.equal(ranks[0]?.forgotten.length, 1);
    assert.match(
      ranks[0]?.forgotten[0] ?? "",
      /^All 2 ranks gave the model the same first batch.*fabric\.setupDataLoaders/,
    );
    assert.deepEqual([ranks[0]?.shared, ranks[0]?.own, ranks[1]?.forgotten], [[], [], []]);
  });
});

it("a save that only rank 0 calls ends the job with the call that it should not be", async () => {
  const { code, stderr } = await runProgram("save-on-rank-zero", { FABRIC_LATE_AFTER_MS: "300" });
  assert.notEqual(code, 0);
  assert.match(
    stderr,
    /number 1 is `Saving the checkpoint: allGather of uint8 \[1024\]` on rank 0 and `fabric\.barrier\("epoch"\): barrier` on rank 1/,
  );
  assert.match(stderr, /Call `fabric\.save` on all ranks, not inside `if \(fabric\.globalRank === 0\)`/);
});
