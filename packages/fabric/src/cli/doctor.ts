// `fabric doctor`: what Fabric found on this machine, what is missing, and the command that repairs it. It works, and says why, when
// the addon cannot be loaded.
import { createRequire } from "node:module";
import { availableParallelism, cpus, release } from "node:os";
import * as torch from "@fabric-ts/torch";
import {
  alternativeBlas,
  findProgram,
  glibcVersion,
  installCommand,
  libTorchCandidates,
  mappedLibraries,
  type Need,
} from "./machine.js";

/** internal: one line of the doctor's findings. */
export interface Finding {
  name: string;
  value: string;
  /** `missing` is something that is needed, `warning` something that costs speed or a feature. */
  state: "ok" | "warning" | "missing";
  /** What to do about it: a sentence or a command. */
  repair?: string;
}

/** internal: looks at everything. Loads LibTorch if it can. */
export function examine(): Finding[] {
  const engine = loadEngine();
  return [
    ...packageFindings(),
    ...machineFindings(),
    ...(engine instanceof Error ? unloadedFindings(engine) : engineFindings(engine)),
    launcherFinding(),
  ];
}

/** internal: prints the findings; the result is the exit code: 1 when something needed is missing. */
export function doctor(options: { json?: boolean } = {}): number {
  const findings = examine();
  const bad = findings.filter((finding) => finding.state !== "ok");
  process.stdout.write(options.json ? `${JSON.stringify(findings, null, 2)}\n` : page(findings, bad));
  return bad.some((finding) => finding.state === "missing") ? 1 : 0;
}

function page(findings: readonly Finding[], bad: readonly Finding[]): string {
  const width = Math.max(...findings.map((finding) => finding.name.length)) + 2;
  const marks = { ok: " ", warning: "!", missing: "x" };
  const lines = findings.map(({ state, name, value }) => `${marks[state]} ${name.padEnd(width)}${value}`);
  if (bad.length === 0) return `${lines.join("\n")}\n\nEverything that is needed is here.\n`;
  const repairs = bad.map(({ name, value, repair }) => `${name}: ${value}${repair ? `\n    ${repair}` : ""}`);
  return `${lines.join("\n")}\n\nTo be repaired:\n${repairs.map((text) => `  ${text}`).join("\n")}\n`;
}

function packageFindings(): Finding[] {
  const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const isNew = major > 20 || (major === 20 && minor >= 12);
  return [
    { name: "fabric", value: version, state: "ok" },
    {
      name: "node",
      value: `${process.version} (${process.execPath})`,
      state: isNew ? "ok" : "missing",
      ...(isNew ? {} : { repair: "Install Node 20.12 or newer." }),
    },
  ];
}

function machineFindings(): Finding[] {
  const model = cpus()[0]?.model.trim();
  const glibc = glibcVersion();
  const usable = availableParallelism();
  return [
    {
      name: "system",
      value: `${process.platform} ${process.arch}, kernel ${release()}${glibc ? `, glibc ${glibc}` : ""}`,
      state: "ok",
    },
    { name: "cores", value: `${usable} usable of ${cpus().length}${model ? ` (${model})` : ""}`, state: "ok" },
  ];
}

interface Engine {
  versions: ReturnType<typeof torch.versions>;
  threads: number;
  blas: string[];
}

function loadEngine(): Engine | Error {
  try {
    const versions = torch.versions();
    // Some libraries are loaded by the first product only.
    torch
      .ones([64, 64])
      .matmul(torch.ones([64, 64]))
      .dispose();
    return {
      versions,
      threads: torch.getNumThreads(),
      blas: mappedLibraries(/^lib(open)?(blas|cblas|mkl_|blis|atlas)/i),
    };
  } catch (error) {
    return error as Error;
  }
}

function engineFindings({ versions, threads, blas }: Engine): Finding[] {
  const [library] = mappedLibraries(/^libtorch_cpu\./);
  const abi = versions.cxxAbi ? "C++11 ABI" : "pre-C++11 ABI";
  return [
    { name: "LibTorch", value: `${versions.torch}${library ? ` (${library})` : ""}, ${abi}`, state: "ok" },
    librariesFinding(),
    addonFinding(versions.torch),
    blasFinding(blas),
    threadsFinding(threads),
    versions.gloo
      ? { name: "Gloo", value: "available", state: "ok" }
      : {
          name: "Gloo",
          value: "not in this build: several CPU processes cannot train together",
          state: "warning",
          repair: repairBy(["libtorch"], "Install a LibTorch with Gloo's headers"),
        },
    { name: "NCCL", value: versions.nccl ? "available" : "not in this build (CUDA only)", state: "ok" },
    { name: "CUDA", value: cudaText(versions), state: "ok" },
  ];
}

function cudaText({ cuda, config }: Engine["versions"]): string {
  if (!cuda) return "not in this build (CPU only)";
  const version = /CUDA Runtime ([\d.]+)/.exec(config)?.[1];
  const count = torch.cuda.deviceCount();
  const devices = count === 0 ? "no usable device" : `${count} ${count === 1 ? "device" : "devices"}`;
  return version ? `${version}, ${devices}` : devices;
}

function addonFinding(loaded: string): Finding {
  const build = torch.processControl.addonBuild();
  if (build instanceof Error) return { name: "addon", value: "loaded", state: "ok" };
  const fits = minorOf(build.torch) === minorOf(loaded);
  return {
    name: "addon",
    value: fits
      ? `built for LibTorch ${build.torch} (${build.addon})`
      : `built for LibTorch ${build.torch}, but ${loaded} was loaded`,
    state: fits ? "ok" : "missing",
    ...(fits ? {} : { repair: "npm run setup" }),
  };
}

function librariesFinding(): Finding {
  const build = torch.processControl.addonBuild();
  const standIns = build instanceof Error ? undefined : build.standIns;
  const all = (why: string): Finding => ({ name: "libraries", value: `all that LibTorch names: ${why}`, state: "ok" });
  if (standIns === undefined) return all("nothing is known of others");
  if ("reason" in standIns) return all(standIns.reason);
  const { names, with: fewer, without: many } = standIns;
  if (process.env.FABRIC_FULL_LIBTORCH === "1") return all("FABRIC_FULL_LIBTORCH=1");
  const families = [...new Set(names.map((name) => name.replace(/^lib([a-z0-9]+).*$/, "$1")))].join(", ");
  const value = `${fewer} instead of ${many}, without ${families}, which LibTorch names but never calls (FABRIC_FULL_LIBTORCH=1 loads them)`;
  return { name: "libraries", value, state: "ok" };
}

function minorOf(version: string): string {
  return version.split(".").slice(0, 2).join(".");
}

function blasFinding(libraries: readonly string[]): Finding {
  const name = "BLAS";
  const found = libraries.length > 0 ? libraries : [alternativeBlas()].filter((path) => path !== undefined);
  const text = found.join(", ");
  // Debian keeps each implementation in a folder named after it; plain "blas" is the reference one.
  if (found.some((path) => /\/blas\/libblas\.so/.test(path))) {
    return {
      name,
      value: `${text}: the reference implementation, many times slower than OpenBLAS`,
      state: "warning",
      repair: repairBy(["blas"], "Install an OpenBLAS"),
    };
  }
  if (found.some((path) => /openblas-pthread/.test(path))) {
    return {
      name,
      value: `${text}: OpenBLAS with threads of its own, which do not share LibTorch's`,
      state: "warning",
      repair: repairBy(["blas"], "Install the OpenMP variant of OpenBLAS"),
    };
  }
  return { name, value: text || "part of LibTorch", state: "ok" };
}

function threadsFinding(threads: number): Finding {
  const variable = process.env.OMP_NUM_THREADS;
  return {
    name: "threads",
    value: `${threads} for one operator (OMP_NUM_THREADS ${variable === undefined ? "is not set" : `= ${variable}`})`,
    state: "ok",
  };
}

function unloadedFindings(error: Error): Finding[] {
  const build = torch.processControl.addonBuild();
  const candidates = libTorchCandidates();
  const findings: Finding[] = [
    candidates.length > 0
      ? { name: "LibTorch", value: `found, not loaded: ${candidates.join(", ")}`, state: "ok" }
      : {
          name: "LibTorch",
          value: process.env.FABRIC_LIBTORCH
            ? `not found in FABRIC_LIBTORCH=${process.env.FABRIC_LIBTORCH}`
            : "not found in the usual places",
          state: "missing",
          repair: repairBy(["libtorch", "blas"], "Install LibTorch 1.13 or newer with its headers"),
        },
    {
      name: "addon",
      value:
        build instanceof Error
          ? "not built"
          : `built for LibTorch ${build.torch} at ${build.root}, but it cannot be loaded: ${firstLine(error.message)}`,
      state: "missing",
      repair: "npm run setup",
    },
  ];
  const tools: [Need, string][] = [
    ["c++", process.env.CXX ?? "c++"],
    ["cmake", "cmake"],
    ["ninja", "ninja"],
  ];
  for (const [need, program] of tools) {
    const path = program.includes("/") ? program : findProgram(program);
    findings.push(
      path
        ? { name: need, value: path, state: "ok" }
        : {
            name: need,
            value: "not on the PATH; needed to build the addon",
            state: "missing",
            repair: repairBy([need], `Install ${need}`),
          },
    );
  }
  findings.push(blasFinding([]));
  return findings;
}

function launcherFinding(): Finding {
  const path = torch.processControl.processAddonPath();
  return {
    name: "launcher",
    value: path ? "ranks die with their launcher" : "its addon is not built: ranks may outlive a killed launcher",
    state: path ? "ok" : "warning",
    ...(path ? {} : { repair: "npm run setup" }),
  };
}

function repairBy(needs: readonly Need[], otherwise: string): string {
  const command = installCommand(needs);
  return command === undefined ? `${otherwise}, then run: npm run setup` : `${command} && npm run setup`;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0];
}
