// Starts ranks with real launchers: torchrun, SLURM (a private one), Open MPI, MPICH, and on two "hosts" with addresses of their own.
//
//   npm run test:clusters                                    all that is installed, or can be (Debian and Ubuntu)
//   npm run test:clusters -- --test-name-pattern=srun        options go to `node --test`
//   FABRIC_NO_INSTALL=1 npm run test:clusters                nothing is installed; what is missing is skipped, with a reason
//
// Linux and root only. All of it runs in namespaces of its own (network, processes, mounts, host name) that end with it: nothing of it is seen
// from outside, no daemon and no file is left, and a SLURM of this machine is not disturbed. Exit code 3: nothing could be tested here.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engines, missing } from "./clusters/engines.mjs";
import { address } from "./clusters/slurm.mjs";
import { installPackages } from "./setup/system.mjs";
import { orExit, ROOT, setUp } from "./setup.mjs";

const UNSHARE = ["--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"];
const POLICY = "/usr/sbin/policy-rc.d";

needNamespaces();
installEngines();
await orExit(() => setUp());
const folder = mkdtempSync(join(tmpdir(), "fabric-clusters-"));
const code = await test(process.argv.slice(2));
rmSync(folder, { recursive: true });
process.exit(code);

function needNamespaces() {
  if (process.platform !== "linux") cannot("it needs Linux");
  if (process.getuid() !== 0) cannot("it needs root, for namespaces and daemons");
  if (spawnSync("unshare", [...UNSHARE, "true"]).status !== 0) {
    cannot(`\`unshare ${UNSHARE.join(" ")}\` is refused here; a container needs CAP_SYS_ADMIN for it`);
  }
}

function installEngines() {
  for (const [name, { need }] of Object.entries(engines)) {
    if (!missing(name)) continue;
    try {
      withoutServices(() => installPackages([need], console.log));
    } catch (error) {
      console.log(error.message);
    }
    const reason = missing(name);
    if (reason) console.log(`clusters: what needs ${name} is skipped: ${reason}`);
  }
  if (Object.keys(engines).every(missing)) cannot("no launcher is installed");
}

/** Debian's packages start their services when they are installed, unless this program exists and says no. */
function withoutServices(install) {
  const isOurs = !existsSync(POLICY);
  if (isOurs) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    install();
  } finally {
    if (isOurs) rmSync(POLICY);
  }
}

/** Runs the tests in namespaces; resolves with their exit code. */
async function test(options) {
  // The folder is in memory, and gone with the namespaces. SLURM needs an address beside loopback: one end of a cable to nowhere.
  const prepare = [
    "mount --make-rprivate /",
    `mount -t tmpfs tmpfs '${folder}'`,
    `mkdir '${folder}/tmp'`,
    "hostname vm",
    `printf '127.0.0.1 localhost\\n${address} vm n1 n2\\n' > '${folder}/hosts'`,
    `mount --bind '${folder}/hosts' /etc/hosts`,
    "ip link set lo up",
    "ip link add cable type veth peer name nowhere",
    `ip addr add ${address}/24 dev cable`,
    "ip link set cable up",
    "ip link set nowhere up",
  ];
  const node = [process.execPath, "--enable-source-maps", "--test", "--test-timeout=180000", "--test-reporter=spec"];
  const command = [...node, ...options, join(ROOT, "scripts/clusters/clusters.test.mjs")];
  // This shell is process 1 of its own process namespace: what a test leaves behind dies with it.
  const script = `${prepare.join(" && ")} && "$@"; exit $?`;
  const child = spawn("unshare", [...UNSHARE, "bash", "-c", script, "bash", ...command], {
    env: { ...process.env, TMPDIR: `${folder}/tmp`, FABRIC_CLUSTER_FOLDER: folder },
    stdio: ["ignore", "inherit", "inherit"],
  });
  // `unshare` itself ignores the others.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill("SIGKILL"));
  return await new Promise((resolve) => child.on("close", (status) => resolve(status ?? 1)));
}

function cannot(reason) {
  console.error(`clusters: nothing was tested: ${reason}`);
  process.exit(3);
}
