// System packages: what is needed, how this system gets it, and installing it where that is possible unasked
// (Debian and Ubuntu, as root or with password-less sudo).
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { findProgram } from "./libtorch.mjs";

/** A failure that is the machine's, not the code's: shown as it is, without a stack. */
export class SetupError extends Error {}

// What each system calls the things that can be missing.
const PACKAGES = {
  apt: {
    libtorch: ["libtorch-dev", "libgloo-dev"],
    blas: ["libopenblas0-openmp"],
    "g++": ["g++"],
    cmake: ["cmake"],
    ninja: ["ninja-build"],
    debootstrap: ["debootstrap"],
    iproute2: ["iproute2"],
    torchrun: ["python3-torch"],
    slurm: ["slurmctld", "slurmd", "slurm-client", "munge"],
    openmpi: ["openmpi-bin"],
    mpich: ["mpich"],
  },
  dnf: {
    libtorch: ["python3-torch-devel"],
    blas: ["openblas-openmp"],
    "g++": ["gcc-c++"],
    cmake: ["cmake"],
    ninja: ["ninja-build"],
  },
  pacman: { libtorch: ["python-pytorch-opt"], blas: ["openblas"], "g++": ["gcc"], cmake: ["cmake"], ninja: ["ninja"] },
  brew: { libtorch: ["pytorch"], blas: ["openblas"], "g++": [], cmake: ["cmake"], ninja: ["ninja"] },
};
const COMMANDS = {
  apt: "apt-get install -y",
  dnf: "dnf install -y",
  pacman: "pacman -S --needed",
  brew: "brew install",
};

/** The package manager of this system: "apt", "dnf", "pacman", "brew" or null. */
export function packageManager() {
  if (process.platform === "darwin") return "brew";
  const release = readOsRelease();
  const names = `${release.ID ?? ""} ${release.ID_LIKE ?? ""}`;
  if (/debian|ubuntu/.test(names)) return "apt";
  if (/fedora|rhel|centos/.test(names)) return "dnf";
  if (/arch/.test(names)) return "pacman";
  return null;
}

function readOsRelease() {
  try {
    const lines = readFileSync("/etc/os-release", "utf8").split("\n");
    return Object.fromEntries(
      lines.map((line) => line.split("=")).map(([key, value = ""]) => [key, value.replaceAll('"', "")]),
    );
  } catch {
    return {};
  }
}

/** "" for root, "sudo -n " where that works without a password, null where neither. */
function privilege() {
  if (process.getuid?.() === 0) return "";
  if (findProgram("sudo") && spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0) return "sudo -n ";
  return null;
}

/** The command that a person would type to get `needs` (keys of the table above), or null on an unknown system. */
export function installCommand(needs) {
  const manager = packageManager();
  if (!manager) return null;
  const packages = needs.flatMap((need) => PACKAGES[manager][need]);
  const command = `${COMMANDS[manager]} ${packages.join(" ")}`;
  return manager === "brew" || process.getuid?.() === 0 ? command : `sudo ${command}`;
}

/** Installs `needs` through apt; false when this machine does not let us. Throws when apt fails. */
export function installPackages(needs, say) {
  const prefix = packageManager() === "apt" ? privilege() : null;
  if (prefix === null || process.env.FABRIC_NO_INSTALL === "1") return false;
  const packages = needs.flatMap((need) => PACKAGES.apt[need]);
  say(`system packages: installing ${packages.join(" ")}`);
  const apt = (args) => {
    const command = `${prefix}env DEBIAN_FRONTEND=noninteractive apt-get -q ${args}`.split(" ");
    return spawnSync(command[0], command.slice(1), { encoding: "utf8", maxBuffer: 1 << 28 });
  };
  const install = `install -y --no-install-recommends ${packages.join(" ")}`;
  let run = apt(install);
  if (run.status !== 0) {
    // Usually the lists of a fresh machine, which are empty or point at versions that are gone.
    const update = apt("update");
    run = apt(install);
    if (run.status !== 0) {
      const output = `${update.stderr}${run.stdout}${run.stderr}`.trim().split("\n").slice(-15).join("\n");
      throw new SetupError(
        `apt-get could not install ${packages.join(" ")}:\n${output}\nRun it yourself to see more: ${installCommand(needs)}`,
      );
    }
  }
  return true;
}

/** The commands by which any system gets a LibTorch, one a line. */
export function libtorchAdvice(needs) {
  const own = installCommand(needs);
  const lines = own ? [`  ${own}`] : [];
  lines.push(
    `  ${own ? "or " : ""}python3 -m venv .venv && . .venv/bin/activate && pip install torch`,
    "  or unpack a LibTorch from https://pytorch.org/get-started/locally and set FABRIC_LIBTORCH=/path/to/libtorch",
  );
  return lines.join("\n");
}
