// A save that fails on rank 0 is an error on every rank, leaves the checkpoint before and nothing else, and training can go on.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { runRanks } from "../support/run-ranks.js";

const noMount = ((): string | false => {
  if (process.platform !== "linux") return "needs Linux";
  const run = spawnSync("unshare", ["-m", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]);
  return run.status === 0 ? false : "mounting a small disk is not permitted here (it takes root)";
})();

interface Seen {
  events: [name: string, error: string, epoch: number, files: string][];
  crowded: string;
  loading: string;
}

test("disks that are full, read-only, crowded, in the way or failing at any call", { skip: noMount }, async () => {
  const disk = mkdtempSync(join(tmpdir(), "fabric-disk-"));
  const mounted = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=7m tmpfs "$0" && exec "$@"', disk];
  const reports = await runRanks<Seen>("failing-saves", { TEST_DISK: disk }, mounted);
  // Fails where anything was mounted outside of the private namespace.
  rmdirSync(disk);

  const calls = reports[0]?.events.filter(([name]) => name.startsWith("call")).length ?? 0;
  // Opening, some pieces, putting in place; the last round succeeds.
  assert.ok(calls >= 5, `${calls} calls`);
  for (const [rank, { events, crowded, loading }] of reports.entries()) {
    const by = rank === 0 ? "" : " elsewhere";
    const expected = [
      ...Array.from({ length: calls - 1 }, (_, n) => [`call ${n}`, `CheckpointError EIO${by}`, 1, "last.ckpt"]),
      [`call ${calls - 1}`, "no error", 1, "last.ckpt"],
      ["full", `CheckpointError ENOSPC${by}`, 2, "last.ckpt"],
      ["full, elsewhere", `CheckpointError ENOSPC${by}`, 2, "last.ckpt"],
      ["full, safetensors", `CheckpointError ENOSPC${by}`, 2, "last.ckpt"],
      ["read-only", `CheckpointError EROFS${by}`, 2, "last.ckpt"],
      ["read-only, new folder", `CheckpointError EROFS${by}`, 2, "last.ckpt"],
      ["folder that is a file", `CheckpointError ENOTDIR${by}`, 2, "last.ckpt"],
      ["file that is a folder", `CheckpointError EISDIR${by}`, 2, "last.ckpt"],
      ["vanished folder", "no error", 4, "last.ckpt"],
      ["after all", "no error", 6, "last.ckpt"],
    ];
    assert.deepEqual(events, expected, `rank ${rank}`);
    assert.deepEqual([crowded, loading], ["CheckpointError EMFILE", "CheckpointError EMFILE"], `rank ${rank}`);
  }
});
