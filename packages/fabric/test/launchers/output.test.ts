import assert from "node:assert/strict";
import { it } from "node:test";
import { prefixed } from "../../dist/launchers/output.js";

it("puts a prefix before each line, once where a line comes in pieces", () => {
  let text = "";
  const sink = prefixed("[rank 3] ", (lines) => (text += lines.toString()));
  for (const piece of ["one\ntwo\n", "thr", "ee\n\n", "last\n"]) sink(Buffer.from(piece));
  assert.equal(text, "[rank 3] one\n[rank 3] two\n[rank 3] three\n[rank 3] \n[rank 3] last\n");
});
