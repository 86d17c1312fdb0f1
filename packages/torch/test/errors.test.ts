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
