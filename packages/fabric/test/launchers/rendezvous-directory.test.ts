import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, it } from "node:test";
import {
  createRendezvousDirectory,
  removeRendezvousDirectory,
  sweepRendezvousDirectories,
} from "../../dist/launchers/rendezvous-directory.js";

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "fabric-directory-test-"));
});
afterEach(() => rmSync(parent, { recursive: true }));

function rewriteOwner(path: string, changes: object): void {
  const file = join(path, "owner.json");
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...changes }));
}

it("is private, and gone after its removal", () => {
  const path = createRendezvousDirectory(parent);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  removeRendezvousDirectory(path);
  assert.ok(!existsSync(path));
  removeRendezvousDirectory(path);
});

it("keeps the directories of living launchers", () => {
  const path = createRendezvousDirectory(parent);
  sweepRendezvousDirectories(parent);
  assert.ok(existsSync(path));
});

it("sweeps those whose process is gone or another one by now", () => {
  const gone = createRendezvousDirectory(parent);
  rewriteOwner(gone, { pid: 2 ** 22 + 1 });
  const reused = createRendezvousDirectory(parent);
  assert.ok(!existsSync(gone));
  rewriteOwner(reused, { startTime: "1" });
  sweepRendezvousDirectories(parent);
  assert.ok(!existsSync(reused));
});

it("leaves alone what is not surely abandoned: other containers', half-made ones, links, other names", () => {
  const foreign = createRendezvousDirectory(parent);
  rewriteOwner(foreign, { pid: 2 ** 22 + 1, namespace: "pid:[1]" });
  const halfMade = join(parent, "fabric-rendezvous-abcdef");
  mkdirSync(halfMade);
  const target = createRendezvousDirectory(parent);
  rewriteOwner(target, { namespace: "pid:[1]" });
  symlinkSync(target, join(parent, "fabric-rendezvous-link"));
  const other = join(parent, "mine");
  mkdirSync(other);
  sweepRendezvousDirectories(parent);
  for (const path of [foreign, halfMade, target, other]) assert.ok(existsSync(path), path);
});

it("a place where it cannot be made is named", () => {
  assert.throws(() => createRendezvousDirectory("/proc/nowhere"), {
    name: "ConfigurationError",
    message: /^The private folder of this job cannot be made in \/proc\/nowhere: .*\nSet TMPDIR to a folder/,
  });
});
