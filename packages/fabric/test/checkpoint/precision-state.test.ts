// The loss scaler of 16-mixed is saved and restored without being asked for.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import { Fabric, GradScaler, MixedPrecision } from "@fabric-ts/fabric";

const folder = mkdtempSync(join(tmpdir(), "fabric-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function mixed(initScale: number): { fabric: Fabric; precision: MixedPrecision } {
  const precision = new MixedPrecision("16-mixed", "cpu", new GradScaler("cpu", { initScale }));
  return { fabric: new Fabric({ accelerator: "cpu", plugins: precision }), precision };
}
const scaler = (scale: number) => ({
  scale,
  growth_factor: 2,
  backoff_factor: 0.5,
  growth_interval: 2000,
  _growth_tracker: 0,
});

/** What a file holds, as plain objects. */
const contents = async (fabric: Fabric, path: string, state?: object): Promise<unknown> =>
  JSON.parse(JSON.stringify(await fabric.load(path, state)));

it("saves it under the name of the precision's class, and restores it when something is loaded", async () => {
  const path = join(folder, "default.ckpt");
  await mixed(8).fabric.save(path, { step: 1 });
  assert.deepEqual(await contents(mixed(1).fabric, path), { step: 1, MixedPrecision: scaler(8) });
  const { fabric, precision } = mixed(1);
  const state = { step: 0 };
  assert.deepEqual(await contents(fabric, path, state), {});
  assert.equal(state.step, 1);
  assert.equal(precision.scaler?.getScale(), 8);
});

it("leaves it where the user has put it", async () => {
  const path = join(folder, "own.ckpt");
  const saving = mixed(4);
  await saving.fabric.save(path, { precision: saving.fabric.strategy.precision });
  assert.deepEqual(await contents(mixed(1).fabric, path), { precision: scaler(4) });
  const { fabric, precision } = mixed(1);
  await fabric.load(path, { precision: fabric.strategy.precision });
  assert.equal(precision.scaler?.getScale(), 4);
});

it("adds nothing where there is no scaler, and leaves a scaler's state alone there", async () => {
  const path = join(folder, "plain.ckpt");
  const plain = new Fabric({ accelerator: "cpu", precision: "bf16-mixed" });
  await plain.save(path, { step: 1 });
  assert.deepEqual(await contents(plain, path), { step: 1 });
  await mixed(8).fabric.save(path, { step: 2 });
  assert.deepEqual(await contents(plain, path, { step: 0 }), { MixedPrecision: scaler(8) });
});
