// Exact resume: a run that is saved in the middle of a pass goes on in another process with the batches that were still to come.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { runRanks } from "../support/run-ranks.js";

type Weights = Record<string, string[]>;

for (const devices of [1, 2]) {
  test(`training resumed at any step ends with the weights of the undisturbed run, on ${devices} process${devices === 1 ? "" : "es"}`, async () => {
    const folder = mkdtempSync(join(tmpdir(), "fabric-resume-"));
    // Each process has 24 steps, or 12 of two.
    const env = { FOLDER: folder, DEVICES: String(devices), STEP: String(randomInt(1, devices === 1 ? 24 : 12)) };
    try {
      const undisturbed = await runRanks<Weights>("resume", env);
      const resumed = await runRanks<Weights>("resume", { ...env, RESUME: "1" });
      assert.equal(resumed.length, devices);
      undisturbed.forEach((loaders, rank) => {
        assert.equal(Object.keys(loaders).length, 5);
        for (const [name, [through, saved]] of Object.entries(loaders)) {
          const what = `loader "${name}", rank ${rank}, saved at step ${env.STEP}`;
          assert.equal(saved, through, `saving changed the training: ${what}`);
          assert.deepEqual(resumed[rank]?.[name], [through], `resumed otherwise: ${what}`);
        }
      });
      const [first] = undisturbed as [Weights];
      assert.equal(new Set(Object.values(first).flat()).size, 5, "each loader is another training");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
