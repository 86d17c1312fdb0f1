// Builds and tests these sources against the LibTorch of another Debian, in a tree of it made by debootstrap:
//
//   npm run matrix                 Debian 13 (LibTorch 2.6)
//   npm run matrix -- sid          Debian unstable
//   npm run matrix -- trixie nn/   only the tests whose path contains "nn/"
//
// Linux and root only. The trees are kept in FABRIC_MATRIX_DIR (~/.cache/fabric-ts/matrix); delete one to have it made anew.
// Exit code 3: the tree cannot be made or entered here, and nothing was tested.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { findProgram } from "./setup/libtorch.mjs";
import { installPackages } from "./setup/system.mjs";
import { ROOT } from "./setup.mjs";

const RELEASES = ["trixie", "sid"];
const PACKAGES =
  "libtorch-dev libgloo-dev libopenblas0-openmp python3-torch g++ cmake ninja-build ccache nodejs procps git ca-certificates";
const MIRROR = process.env.FABRIC_DEBIAN_MIRROR ?? "http://deb.debian.org/debian";

const [release = "trixie", ...testArgs] = process.argv.slice(2);
if (!RELEASES.includes(release)) {
  console.error(`usage: npm run matrix -- [${RELEASES.join(" | ")}] [arguments of npm test]; received "${release}"`);
  process.exit(2);
}
const trees = process.env.FABRIC_MATRIX_DIR ?? join(homedir(), ".cache/fabric-ts/matrix");
const tree = join(trees, release);
const checkout = join(tree, "fabric-ts");

needRoot();
makeTree();
installTreePackages();
copyCheckout();
console.log(`matrix: set-up and tests in Debian ${release}`);
const status = inTree(`cd /fabric-ts && exec node scripts/test.mjs ${testArgs.map(quote).join(" ")}`, "inherit").status;
process.exit(status ?? 1);

// ---- the tree -----------------------------------------------------------------------------------------------

function needRoot() {
  if (process.platform !== "linux") cannot("it needs Linux");
  if (process.getuid() !== 0) cannot("it needs root, for debootstrap and chroot");
  if (spawnSync("unshare", ["--mount", "--pid", "--fork", "true"]).status !== 0) {
    cannot("`unshare --mount --pid` is refused here; a container needs CAP_SYS_ADMIN for it");
  }
}

function makeTree() {
  if (existsSync(join(tree, "etc/debian_version"))) return;
  if (!findProgram("debootstrap") && !installPackages(["debootstrap"], console.log)) {
    cannot("debootstrap is not installed");
  }
  console.log(`matrix: making a tree of Debian ${release} in ${tree}`);
  mkdirSync(trees, { recursive: true });
  const unfinished = `${tree}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  const made = spawnSync("debootstrap", ["--variant=minbase", release, unfinished, MIRROR], { encoding: "utf8" });
  if (made.status !== 0) cannot(`debootstrap failed:\n${lastLines(made)}`);
  renameSync(unfinished, tree);
}

function installTreePackages() {
  const stamp = join(tree, "etc/fabric-ts-packages");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === PACKAGES) return;
  console.log(`matrix: installing ${PACKAGES}`);
  copyFileSync("/etc/resolv.conf", join(tree, "etc/resolv.conf"));
  const options = "-q -y --no-install-recommends";
  const install = `apt-get -q update && apt-get ${options} dist-upgrade && apt-get ${options} install ${PACKAGES}`;
  const done = inTree(`export DEBIAN_FRONTEND=noninteractive; ${install}`, "pipe");
  if (done.status !== 0) cannot(`apt-get failed in ${tree}:\n${lastLines(done)}`);
  writeFileSync(stamp, PACKAGES);
}

/** Runs a shell line in the tree, with mounts and processes of its own that end with it. */
function inTree(line, stdio) {
  // This shell is process 1 of its own process namespace: whatever a test leaves behind dies with it.
  const enter = [
    "mount --make-rprivate /",
    `mount -t proc proc ${quote(`${tree}/proc`)}`,
    `mount --rbind /dev ${quote(`${tree}/dev`)}`,
    `mount --rbind /sys ${quote(`${tree}/sys`)}`,
    `chroot ${quote(tree)} /bin/bash -c ${quote(line)}`,
  ].join(" && ");
  const { TERM = "dumb", CI, NO_COLOR } = process.env;
  const env = {
    PATH: "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin",
    HOME: "/root",
    LANG: "C.UTF-8",
    TERM,
    FABRIC_NO_INSTALL: "1",
  };
  if (CI) env.CI = CI;
  if (NO_COLOR) env.NO_COLOR = NO_COLOR;
  const unshare = ["--mount", "--pid", "--fork", "--kill-child", "bash", "-c", `${enter}; exit $?`];
  return spawnSync("unshare", unshare, { env, encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", stdio, stdio] });
}

// ---- the checkout in the tree -------------------------------------------------------------------------------

/** Brings the copy up to date. Times are kept and builds left alone, so that only what changed is built again. */
function copyCheckout() {
  const listed = spawnSync("git", ["ls-files", "-coz", "--exclude-standard"], { cwd: ROOT, encoding: "utf8" });
  if (listed.status !== 0) cannot(`git cannot list the files of ${ROOT}: ${listed.stderr.trim()}`);
  const files = new Set(listed.stdout.split("\0").filter((file) => file && existsSync(join(ROOT, file))));
  for (const file of files) copyIfChanged(join(ROOT, file), join(checkout, file));
  removeOthers(checkout, "", files);

  // What npm installed here: JavaScript, and binaries for Linux on this processor. They run there as well.
  const lock = "node_modules/.package-lock.json";
  const same =
    existsSync(join(checkout, lock)) && readFileSync(join(checkout, lock)).equals(readFileSync(join(ROOT, lock)));
  if (!same) {
    rmSync(join(checkout, "node_modules"), { recursive: true, force: true });
    const copied = spawnSync("cp", ["-a", join(ROOT, "node_modules"), checkout], { encoding: "utf8" });
    if (copied.status !== 0) cannot(`node_modules could not be copied: ${copied.stderr}`);
  }
}

function copyIfChanged(from, to) {
  const [source, target] = [statSync(from), statSync(to, { throwIfNoEntry: false })];
  if (target && source.size === target.size && Math.abs(source.mtimeMs - target.mtimeMs) < 2) return;
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
  utimesSync(to, source.atime, source.mtime);
}

function removeOthers(folder, prefix, files) {
  const outputs = new Set(["node_modules", "build", "dist", "dist-test", "bundle", ".cache"]);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (outputs.has(entry.name)) continue;
    if (entry.isDirectory()) {
      removeOthers(path, `${prefix}${entry.name}/`, files);
      if (readdirSync(path).length === 0) rmdirSync(path);
    } else if (!files.has(prefix + entry.name)) rmSync(path);
  }
}

// ---- helpers ------------------------------------------------------------------------------------------------

function cannot(reason) {
  console.error(`matrix: Debian ${release} was not tested: ${reason}`);
  process.exit(3);
}

function lastLines({ stdout, stderr, error }) {
  return error ? error.message : `${stdout}${stderr}`.trim().split("\n").slice(-15).join("\n");
}

function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
