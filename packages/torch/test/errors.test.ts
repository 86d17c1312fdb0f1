// What the errors of this project carry, and how they are printed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import * as torch from "@fabric-ts/torch";

test("a printed error shows its hint once", () => {
  const error = new torch.UsageError("It is closed.", { hint: "Open it first." });
  assert.equal(error.hint, "Open it first.");
  assert.equal(error.message, "It is closed.\nOpen it first.");
  const printed = inspect(error);
  assert.equal(printed.split("Open it first.").length, 2);
  assert.match(printed, /^UsageError: It is closed\.\n[\s\S]*code: 'ERR_USAGE'/);
  assert.equal(new torch.UsageError("It is closed.").hint, undefined);
});

test("every class of errors is a FabricError and an Error, with a name, a code and the cause", () => {
  const cause = new RangeError("below");
  const classes = {
    ERR_CONFIGURATION: torch.ConfigurationError,
    ERR_USAGE: torch.UsageError,
    ERR_NOT_SUPPORTED: torch.NotSupportedError,
    ERR_CHECKPOINT: torch.CheckpointError,
    ERR_TORCH: torch.TorchError,
    ERR_DISTRIBUTED: torch.DistributedError,
  };
  for (const [code, Class] of Object.entries(classes)) {
    const error = new Class("text", { cause });
    assert.ok(error instanceof torch.FabricError && error instanceof Error);
    assert.deepEqual([error.name, error.code, error.cause === cause], [Class.name, code, true]);
    assert.equal(new Class("text", { code: "ENOENT" }).code, "ENOENT");
    assert.ok(!("cause" in new Class("text")));
  }
});
