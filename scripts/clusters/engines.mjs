// The launchers on this machine: how each is called, or why it cannot be.
import { spawnSync } from "node:child_process";
import { findProgram } from "../setup/libtorch.mjs";

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** What the cases of each launcher need: programs, and the entry of the set-up's table of packages that brings them. */
export const engines = {
  hosts: { programs: ["ip", "nsenter"], need: "iproute2" },
  torchrun: { programs: [], need: "torchrun" },
  slurm: { programs: ["slurmctld", "slurmd", "srun", "munged", "ip"], need: "slurm" },
  openmpi: { programs: ["mpirun.openmpi"], need: "openmpi" },
  mpich: { programs: ["mpiexec.hydra"], need: "mpich" },
};

/** Why the cases of a launcher cannot run, or false. */
export function missing(name) {
  const absent = engines[name].programs.filter((program) => !findProgram(program, env));
  if (absent.length > 0) return `${absent.join(", ")}: not installed`;
  return name === "torchrun" && torchVersion() === null ? `${python} has no torch` : false;
}

const python = process.env.FABRIC_PYTHON ?? "/usr/bin/python3";
let version;

function torchVersion() {
  if (version === undefined) {
    const code = "import sys, torch; print(torch.__version__, sys.version_info.minor)";
    const found = spawnSync(python, ["-c", code], { encoding: "utf8" });
    version = found.status === 0 ? found.stdout.trim() : null;
  }
  return version;
}

/** torchrun, ready for its options and a program that is no Python. */
export function torchrun() {
  // PyTorch 1.13 fails on Python 3.11 unless some rank's output is redirected; rank 9 does not exist.
  const aid = /^1\.13\S* (1[1-9]|[2-9]\d)$/.test(torchVersion() ?? "") ? ["-r", "9:1", "-t", "9:1"] : [];
  return [python, "-m", "torch.distributed.run", ...aid, "--no_python", "--monitor_interval=0.2"];
}

/** Open MPI's mpirun. */
export const mpirun = ["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe"];
