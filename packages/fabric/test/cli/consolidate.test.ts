// The paths that `fabric consolidate` is given, and what it says where they cannot be right.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import { checkPaths } from "../../dist/cli/consolidate.js";
import { fabricCommand } from "../launchers/job.js";

const folder = mkdtempSync(join(tmpdir(), "fabric-consolidate-test-"));
after(() => rmSync(folder, { recursive: true }));

const checkpoint = join(folder, "a.ckpt");
mkdirSync(checkpoint);
writeFileSync(join(checkpoint, "meta.pt"), "");
const file = join(folder, "file.ckpt");
writeFileSync(file, "");

function consolidate(...args: string[]): { code: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, [fabricCommand, "consolidate", ...args], { encoding: "utf8" });
  return { code: status, stderr };
}

it("a folder that does not exist is a mistake on the command line", () => {
  const { code, stderr } = consolidate(join(folder, "none"));
  assert.equal(code, 2);
  assert.match(
    stderr,
    /^Usage: fabric consolidate \[OPTIONS\] CHECKPOINT_FOLDER\n.*\n\nError: .* Path '.*none' does not exist\.\n$/,
  );
});

it("a file, a folder without meta.pt and an existing output are refused", () => {
  assert.throws(() => checkPaths(file), /The checkpoint path must be a folder: .*file\.ckpt/);
  assert.throws(() => checkPaths(folder), /Only FSDP-sharded checkpoints saved with Lightning are supported/);
  assert.throws(
    () => checkPaths(checkpoint, file),
    /The path for the converted checkpoint already exists: .*file\.ckpt/,
  );
});

it("the output stands beside the folder, with its suffixes and one more, unless another path is given", () => {
  assert.equal(checkPaths(`${checkpoint}/`).output, `${checkpoint}.consolidated`);
  assert.equal(checkPaths(checkpoint, join(folder, "out.pt")).output, join(folder, "out.pt"));
});

it("what cannot be converted ends with 1 and leaves everything as it was", () => {
  for (const args of [[checkpoint], [checkpoint, "--output_file", join(folder, "new.pt")], [folder], [file]]) {
    const { code, stderr } = consolidate(...args);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^Error: /);
  }
  assert.deepEqual(readdirSync(folder), ["a.ckpt", "file.ckpt"]);
});
