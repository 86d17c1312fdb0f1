// However a program ends, what it logged is in its files: without a call, and without being kept alive.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import Papa from "papaparse";
import { cleanEnvironment, type Run } from "../support/run-ranks.js";
import { readScalars } from "./support/event-reader.js";
import { filesIn, temporaryFolder } from "./support/temporary.js";

const program = fileURLToPath(new URL("./programs/logging.js", import.meta.url));

async function run(
  root: string,
  env: Record<string, string>,
  wrap: string[] = [],
): Promise<Run & { signal: string | null }> {
  const [command = "", ...args] = [...wrap, process.execPath, program];
  const child = spawn(command, args, {
    env: { ...cleanEnvironment(), LOG_ROOT: root, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on("close", (...ended) => resolve(ended)),
  );
  return { code, signal, stdout, stderr };
}

function stepsIn(root: string): { csv: number; tensorboard: number; json: number } {
  const folder = join(root, "lightning_logs", "version_0");
  const csv = Papa.parse(readFileSync(join(folder, "metrics.csv"), "utf8"), { header: true, skipEmptyLines: true });
  const lines = readFileSync(join(folder, "metrics.jsonl"), "utf8").trim().split("\n");
  for (const line of lines) JSON.parse(line);
  return { csv: csv.data.length, tensorboard: readScalars(folder).loss?.length ?? 0, json: lines.length };
}

const all = { csv: 42, tensorboard: 42, json: 42 };

describe("files are complete", () => {
  it("at the end of the program, after an error, and after process.exit", { concurrency: 2 }, async () => {
    const expected = [
      ["", 0],
      ["throw", 1],
      ["throw later", 1],
      ["exit", 3],
    ] as const;
    for (const [end, code] of expected) {
      const root = temporaryFolder();
      const ended = await run(root, { LOG_END: end });
      assert.equal(ended.code, code, ended.stderr);
      assert.deepEqual(stepsIn(root), all, end);
      assert.match(ended.stderr, /the user's logger saves/);
      assert.match(ended.stdout, /step +loss\n +0 +1\n/);
    }
  });

  it("on several ranks: rank zero alone writes, and all ranks know the same folder", async () => {
    const root = temporaryFolder();
    mkdirSync(join(root, "lightning_logs", "version_6"), { recursive: true });
    const ended = await run(root, { LOG_END: "", LOG_DEVICES: "2" });
    assert.equal(ended.code, 0, ended.stderr);
    const folder = join(root, "lightning_logs", "version_7");
    const reports = [...ended.stdout.matchAll(/REPORT \d (.*)$/gm)].map(([, json]) => JSON.parse(json as string));
    assert.deepEqual(reports, Array(2).fill({ logDirs: [folder, folder, folder, null, null] }));
    assert.equal(filesIn(folder).length, 3);
    assert.equal(readScalars(folder).loss?.length, 42);
    assert.equal(ended.stdout.match(/step +loss/g)?.length, 1);
  });

  it("on several ranks when each of them fails", async () => {
    const root = temporaryFolder();
    const ended = await run(root, { LOG_END: "throw", LOG_DEVICES: "2" });
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /made to fail/);
    // The other rank may have ended rank zero before its own error did, within the second.
    if (/Rank 0 .*failed with an uncaught error/.test(ended.stderr)) assert.deepEqual(stepsIn(root), all);
  });

  it("up to a second before a SIGKILL, in a loop that lets nothing else run", async () => {
    const root = temporaryFolder();
    const ended = await run(root, { LOG_END: "kill" });
    assert.equal(ended.signal, "SIGKILL");
    assert.deepEqual(stepsIn(root), { csv: 43, tensorboard: 43, json: 43 });
  });
});

const noMount =
  spawnSync("unshare", ["-m", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]).status === 0
    ? false
    : "no file system can be mounted here";

it("a full disk ends neither the training nor the other loggers: one warning each, also at the end", {
  skip: noMount,
}, async () => {
  const root = temporaryFolder();
  const script = 'mount -t tmpfs -o size=4k,nr_inodes=8 tmpfs "$LOG_ROOT" && exec "$@"';
  const ended = await run(root, {}, ["unshare", "-m", "sh", "-c", script, "sh"]);
  assert.equal(ended.code, 0, ended.stderr);
  const warnings = ended.stderr.match(/UserWarning: \w+Logger cannot write to .*(ENOSPC|EDQUOT)/g) ?? [];
  assert.ok(warnings.length >= 1, ended.stderr);
  assert.equal(new Set(warnings).size, warnings.length);
  assert.match(ended.stdout, /step +loss/);
});

it("a reader of the console's table that goes away ends nothing", async () => {
  const root = temporaryFolder();
  const ended = await run(root, {}, ["sh", "-c", '{ "$@"; echo "code $?" >&2; } | true', "sh"]);
  assert.match(ended.stderr, /code 0/);
  assert.doesNotMatch(ended.stderr, /EPIPE/);
  assert.deepEqual(stepsIn(root), all);
});
