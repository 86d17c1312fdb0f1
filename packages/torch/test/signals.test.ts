// Loading the engine leaves the process's signal handlers as they were.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import * as torch from "@fabric-ts/torch";

const caught = (): string | undefined => /^SigCgt:\s*(\w+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];

test("loading the engine installs no signal handlers", {
  skip: process.platform !== "linux" && "needs /proc",
}, () => {
  const before = caught();
  torch.ones([1]);
  assert.equal(caught(), before);
});
