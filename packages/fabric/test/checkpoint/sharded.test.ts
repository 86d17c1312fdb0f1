// A folder that several ranks have written is loaded as one checkpoint, without any of them.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Fabric, loadShardedCheckpoint } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { distributed, nn, type Tensor } from "@fabric-ts/torch";

const fixture = fileURLToPath(new URL("../../../torch/test/serialization/fixtures/sharded/two-ranks", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "fabric-sharded-"));
after(() => rmSync(directory, { recursive: true }));
const fabric = new Fabric({ accelerator: "cpu" });

it("is whole, on the CPU, and needs no process group; states of optimizers are by the names of parameters", async () => {
  const state = (await loadShardedCheckpoint(fixture)) as {
    model: Record<string, Tensor>;
    optimizer: { state: Record<string, Record<string, Tensor>> };
  };
  assert.equal(distributed.isInitialized(), false);
  assert.deepEqual(Object.keys(state).sort(), ["epoch", "extra", "model", "name", "optimizer"]);
  const layers = new nn.Sequential(new nn.Linear(4, 3), new nn.Linear(3, 1));
  for (const [name, parameter] of layers.namedParameters()) {
    assert.deepEqual([state.model[name]?.shape, state.model[name]?.device], [parameter.shape, "cpu"]);
  }
  assert.deepEqual(Object.keys(state.optimizer.state).sort(), ["0.bias", "0.weight", "1.bias", "1.weight"]);
});

it("takes what stands in meta.pt and among the shards from meta.pt", async () => {
  const folder = join(directory, "both");
  cpSync(fixture, folder, { recursive: true });
  const meta = { epoch: 9, optimizer: "from meta.pt" };
  await torch.save(meta, join(folder, "meta.pt"));
  const state = await loadShardedCheckpoint(folder);
  assert.deepEqual([state.epoch, state.optimizer], [9, "from meta.pt"]);
  assert.ok((state.model as Record<string, Tensor>)["0.weight"]);
});

it("is known by its meta.pt: without it a folder is no checkpoint, and a file is a whole one", async () => {
  const folder = join(directory, "bare");
  cpSync(fixture, folder, { recursive: true });
  rmSync(join(folder, "meta.pt"));
  await assert.rejects(fabric.load(folder), { name: "CheckpointError", message: /it is a folder/ });
  await assert.rejects(loadShardedCheckpoint(folder), {
    name: "CheckpointError",
    message:
      /Only FSDP-sharded checkpoints saved with Lightning are supported: .*bare has no meta\.pt\.\nGive the folder/,
  });
  const file = join(directory, "whole.ckpt");
  await fabric.save(file, { epoch: 3 });
  assert.deepEqual({ ...(await fabric.load(file)) }, { epoch: 3 });
});
