// A SLURM of its own on this machine: one controller, two nodes n1 and n2 that are both this machine, all files in one folder. It disturbs no
// other SLURM: configuration, keys, sockets and states are private, and the ports are those of a network namespace.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { run, waitFor } from "./processes.mjs";

/** Where the nodes are: SLURM refuses to work with loopback addresses alone. */
export const address = "10.77.0.1";

/** Starts it and returns the environment that SLURM's commands need. It ends with this process' namespace. */
export async function startSlurm(folder) {
  mkdirSync(folder);
  for (const name of ["state", "spool.n1", "spool.n2"]) mkdirSync(join(folder, name));
  writeFileSync(join(folder, "munge.key"), randomBytes(1024), { mode: 0o400 });
  writeFileSync(join(folder, "slurm.conf"), configuration(folder));
  const env = { SLURM_CONF: join(folder, "slurm.conf") };
  const munge = [
    "key-file=munge.key",
    "socket=munge.socket",
    "pid-file=munge.pid",
    "log-file=munge.log",
    "seed-file=munge.seed",
  ];
  // Foreground: they end with the process that waits for them, at the latest.
  daemon(folder, env, [
    "munged",
    "--foreground",
    "--force",
    ...munge.map((option) => `--${option.replace("=", `=${folder}/`)}`),
  ]);
  await waitFor(
    async () => (await run(["munge", "--no-input", "--socket", join(folder, "munge.socket")])).code === 0,
    () => logs(folder),
  );
  daemon(folder, env, ["slurmctld", "-D", "-c"]);
  for (const node of ["n1", "n2"]) daemon(folder, env, ["slurmd", "-D", "-N", node]);
  await waitFor(
    async () => (await run(["sinfo", "--noheader", "--format=%T"], { env })).stdout.trim() === "idle",
    () => logs(folder),
  );
  return env;
}

function daemon(folder, env, [program, ...args]) {
  const path = `${process.env.PATH}:/usr/sbin:/sbin`;
  const child = spawn(program, args, { env: { ...process.env, ...env, PATH: path }, stdio: "ignore" });
  child.on("error", (error) => writeFileSync(join(folder, `${program}.failed`), error.message));
  child.unref();
}

/** What the daemons wrote last, for the text of an error. */
export function logs(folder) {
  const names = ["munge.log", "slurmctld.log", "slurmd.n1.log", "slurmd.n2.log"];
  const texts = names.map((name) => {
    try {
      return `${name}:\n${readFileSync(join(folder, name), "utf8").split("\n").slice(-40).join("\n")}`;
    } catch {
      return `${name}: none`;
    }
  });
  return texts.join("\n");
}

function configuration(folder) {
  return `ClusterName=test
SlurmctldHost=${hostname()}(${address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=${folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool.%n
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd.%n.pid
SlurmctldLogFile=${folder}/slurmctld.log
SlurmdLogFile=${folder}/slurmd.%n.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
KillWait=5
JobRequeue=1
NodeName=n1 NodeHostname=${hostname()} NodeAddr=${address} Port=17001 CPUs=4 RealMemory=1000 State=UNKNOWN
NodeName=n2 NodeHostname=${hostname()} NodeAddr=${address} Port=17002 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
`;
}
