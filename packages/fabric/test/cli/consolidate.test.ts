// The paths that `fabric consolidate` is given, and what it says where they cannot be right.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Fabric } from "@fabric-ts/fabric";
import { nn } from "@fabric-ts/torch";
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

const sharded = fileURLToPath(new URL("../../../torch/test/serialization/fixtures/sharded/two-ranks", import.meta.url));

it("a folder of two ranks becomes a file that fabric.load reads, at once like the folder itself", async () => {
  const from = join(folder, "two.ckpt");
  cpSync(sharded, from, { recursive: true });
  for (const [args, output] of [
    [[from], `${from}.consolidated`],
    [[from, "--output_file", join(folder, "two.safetensors")], join(folder, "two.safetensors")],
  ] as const) {
    const { code, stderr } = consolidate(...args);
    assert.equal(code, 0, stderr);
    const state = { epoch: 0, model: new nn.Sequential(new nn.Linear(4, 3), new nn.Linear(3, 1)) };
    const fabric = new Fabric({ accelerator: "cpu" });
    const rest = await fabric.load(output, state);
    assert.deepEqual([state.epoch, Object.keys(rest).sort()], [5, ["extra", "name", "optimizer"]]);
    const other = { model: new nn.Sequential(new nn.Linear(4, 3), new nn.Linear(3, 1)) };
    await fabric.load(from, other);
    assert.deepEqual(other.model.stateDict()["0.weight"]?.tolist(), state.model.stateDict()["0.weight"]?.tolist());
    rmSync(output);
  }
  const twice = [consolidate(from), consolidate(from)];
  assert.deepEqual(
    twice.map(({ code }) => code),
    [0, 1],
  );
  rmSync(`${from}.consolidated`);
  // A part is missing.
  rmSync(join(from, "__0_0.distcp"));
  assert.match(consolidate(from).stderr, /is damaged: its file __0_0\.distcp is missing\.\n.*copy the whole folder/);
  // A link out of the folder is not followed.
  symlinkSync(join(sharded, "__0_0.distcp"), join(from, "__0_0.distcp"));
  const { code, stderr } = consolidate(from);
  assert.equal(code, 1);
  assert.match(stderr, /leads out of the folder/);
  rmSync(from, { recursive: true });
});

it("what cannot be converted ends with 1 and leaves everything as it was", () => {
  for (const args of [[checkpoint], [checkpoint, "--output_file", join(folder, "new.pt")], [folder], [file]]) {
    const { code, stderr } = consolidate(...args);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^Error: /);
  }
  assert.deepEqual(readdirSync(folder), ["a.ckpt", "file.ckpt"]);
});
