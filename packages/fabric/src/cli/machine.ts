// Facts about this machine that need no LibTorch: programs, system libraries, how packages are installed.
import { accessSync, constants, existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** internal: full path of a program, undefined when it is not on the PATH. */
export function findProgram(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/** internal: the version of glibc, undefined with another C library. */
export function glibcVersion(): string | undefined {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime;
}

/** internal: shared libraries in this process whose file names match, each once. Empty where there is no /proc. */
export function mappedLibraries(pattern: RegExp): string[] {
  let maps: string;
  try {
    maps = readFileSync("/proc/self/maps", "utf8");
  } catch {
    return [];
  }
  const paths = maps
    .split("\n")
    .map((line) => line.slice(line.indexOf("/")))
    .filter((path) => path.startsWith("/") && pattern.test(path.slice(path.lastIndexOf("/") + 1)));
  return [...new Set(paths)];
}

/** internal: the BLAS that Debian's alternatives system has chosen, undefined elsewhere. */
export function alternativeBlas(): string | undefined {
  const folder = "/etc/alternatives";
  try {
    const name = readdirSync(folder).find((entry) => entry.startsWith("libblas.so.3"));
    return name === undefined ? undefined : realpathSync(join(folder, name));
  } catch {
    return undefined;
  }
}

/** internal: LibTorch installations in the usual places, as library paths; the loaded one may be another. */
export function libTorchCandidates(): string[] {
  const given = process.env.FABRIC_LIBTORCH;
  const library = process.platform === "darwin" ? "libtorch_cpu.dylib" : "libtorch_cpu.so";
  const triplet = { x64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" }[process.arch as string] ?? process.arch;
  const prefixes = given ? [given] : [process.env.VIRTUAL_ENV, "/usr", "/usr/local", "/opt/libtorch", "/opt/homebrew"];
  return prefixes
    .flatMap((prefix) =>
      prefix ? ["lib", `lib/${triplet}`, "lib64"].map((folder) => join(prefix, folder, library)) : [],
    )
    .filter((path) => existsSync(path));
}

const packages = {
  apt: {
    libtorch: "libtorch-dev libgloo-dev",
    blas: "libopenblas0-openmp",
    "c++": "g++",
    cmake: "cmake",
    ninja: "ninja-build",
  },
  dnf: {
    libtorch: "python3-torch-devel",
    blas: "openblas-openmp",
    "c++": "gcc-c++",
    cmake: "cmake",
    ninja: "ninja-build",
  },
  brew: { libtorch: "pytorch", blas: "openblas", "c++": "gcc", cmake: "cmake", ninja: "ninja" },
};

/** internal: things that a package manager can bring. */
export type Need = keyof (typeof packages)["apt"];

/** internal: the command that installs `needs` here, undefined on an unknown system. */
export function installCommand(needs: readonly Need[]): string | undefined {
  const managers = { apt: "apt-get install -y", dnf: "dnf install -y", brew: "brew install" };
  const programs = { apt: "apt-get", dnf: "dnf", brew: "brew" };
  for (const manager of ["apt", "dnf", "brew"] as const) {
    if (!findProgram(programs[manager])) continue;
    const sudo = manager === "brew" || process.getuid?.() === 0 ? "" : "sudo ";
    return `${sudo}${managers[manager]} ${needs.map((need) => packages[manager][need]).join(" ")}`;
  }
  return undefined;
}
