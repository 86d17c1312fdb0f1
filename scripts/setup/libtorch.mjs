// Finds a LibTorch and reads from its files what a build has to know. Nothing of LibTorch is run and nothing written.
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, readSync, realpathSync, statSync } from "node:fs";
import { basename, delimiter, dirname, join, resolve } from "node:path";

const LIBRARY = process.platform === "darwin" ? "dylib" : "so";
const MULTIARCH = { x64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" }[process.arch] ?? process.arch;

// Headers that LibTorch's own include but that some distributions of it leave out; the addon has stand-ins for them.
const OPTIONAL_HEADERS = ["gloo/config.h", "torch/csrc/distributed/autograd/context/context.h"];

/**
 * The LibTorch to use: `FABRIC_LIBTORCH`, then the `torch` of the active Python, then the system's.
 * @returns {{ found: LibTorch | null, notes: string[] }} `notes` says what was looked at and why it would not do.
 */
export function findLibTorch(env = process.env) {
  const notes = [];
  if (env.FABRIC_LIBTORCH) {
    const found = inspect(resolve(env.FABRIC_LIBTORCH), "FABRIC_LIBTORCH", notes);
    return { found, notes, explicit: true };
  }
  const found = fromPython(env, notes) ?? inspect("/usr", "system", notes) ?? inspect("/usr/local", "system", notes);
  return { found, notes, explicit: false };
}

/** The folder of the active Python's `torch`, found without importing it (that takes seconds). */
function fromPython(env, notes) {
  const code =
    "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s and s.submodule_search_locations else '')";
  for (const python of pythons(env)) {
    const run = spawnSync(python, ["-c", code], { encoding: "utf8", timeout: 20_000 });
    const folder = run.status === 0 ? run.stdout.trim() : "";
    if (!folder) {
      notes.push(`${python}: ${run.error ? run.error.message : "has no torch"}`);
      continue;
    }
    // A distribution's own python3-torch keeps headers and libraries in the system's folders.
    const library = join(folder, "lib", `libtorch_cpu.${LIBRARY}`);
    const elsewhere = !existsSync(library) || dirname(realpathSync(library)) !== realpathSync(dirname(library));
    if (elsewhere || !existsSync(join(folder, "include"))) {
      notes.push(`${python}: its torch in ${folder} has no headers and libraries of its own`);
      continue;
    }
    const found = inspect(folder, `of ${python}`, notes);
    if (found) return found;
  }
  return null;
}

function pythons(env) {
  const list = [];
  for (const prefix of [env.VIRTUAL_ENV, env.CONDA_PREFIX]) {
    if (prefix && existsSync(join(prefix, "bin/python"))) list.push(join(prefix, "bin/python"));
  }
  const onPath = findProgram("python3", env);
  if (onPath && !list.includes(onPath)) list.push(onPath);
  return list;
}

/** Full path of a program, or null. */
export function findProgram(name, env = process.env) {
  for (const folder of (env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    if (folder && existsSync(path) && statSync(path).isFile()) return path;
  }
  return null;
}

/**
 * What lies under an install prefix or a Python package folder; null, with a note, when that is no usable LibTorch.
 *
 * @typedef {object} LibTorch
 * @property {string} source where it came from, for people
 * @property {string} root the prefix
 * @property {string} version such as "2.6.0"
 * @property {string} libDir absolute folder of libtorch_cpu
 * @property {string[]} include folders of headers
 * @property {string[]} libraries absolute paths to link
 * @property {0 | 1} cxx11Abi the value of _GLIBCXX_USE_CXX11_ABI it was compiled with
 * @property {boolean} system in the compiler's and the linker's default paths
 * @property {boolean} cuda @property {boolean} nccl @property {boolean} gloo what of it can be compiled in
 * @property {string[]} missingHeaders those of OPTIONAL_HEADERS that are not there
 */
export function inspect(prefix, source, notes = []) {
  // An install prefix, the folder above a package (site-packages), or a file inside are all the same to a user.
  const root = [prefix, join(prefix, "torch"), join(prefix, "libtorch")].find((p) => libraryFolder(p));
  if (!root) {
    notes.push(`${source === "system" ? prefix : `${source} (${prefix})`}: no libtorch_cpu.${LIBRARY} in it`);
    return null;
  }
  const libDir = libraryFolder(root);
  const headers = join(root, "include");
  const version = readVersion(root);
  if (!version || !existsSync(join(headers, "ATen/core/Tensor.h"))) {
    notes.push(`${root}: LibTorch's libraries are there, its headers are not (on Debian they are in libtorch-dev)`);
    return null;
  }
  const system = root === "/usr";
  const library = (name) => join(libDir, `lib${name}.${LIBRARY}`);
  const has = (name) => existsSync(library(name));
  const cudaHeaders = has("torch_cuda") ? findCudaHeaders(root) : null;
  const cuda = cudaHeaders !== null;
  if (has("torch_cuda") && !cuda) {
    notes.push(`${root}: has CUDA, but cuda_runtime_api.h was not found; set CUDA_HOME to compile the CUDA parts in`);
  }
  const c10d = join(headers, "torch/csrc/distributed/c10d");
  const ncclHeaders = cuda && existsSync(join(c10d, "ProcessGroupNCCL.hpp")) ? findNcclHeaders(root) : null;
  const gloo = existsSync(join(c10d, "ProcessGroupGloo.hpp")) && containsGloo(library("torch_cpu"));
  const include = [headers, join(headers, "torch/csrc/api/include"), cudaHeaders, ncclHeaders];
  return {
    source,
    root,
    version,
    libDir,
    include: [...new Set(include.filter((folder) => folder && folder !== "/usr/include"))],
    libraries: ["torch", "torch_cpu", ...(cuda ? ["torch_cuda", "c10_cuda"] : []), "c10"].map(library),
    cxx11Abi: readCxx11Abi(library("c10")),
    system,
    cuda,
    nccl: ncclHeaders !== null,
    gloo,
    missingHeaders: OPTIONAL_HEADERS.filter((header) => !existsSync(join(headers, header))),
  };
}

function libraryFolder(root) {
  const folders = ["lib", "lib64", `lib/${MULTIARCH}`].map((name) => join(root, name));
  return folders.find((folder) => existsSync(join(folder, `libtorch_cpu.${LIBRARY}`)));
}

function readVersion(root) {
  for (const file of [
    "include/torch/headeronly/version.h",
    "include/torch/csrc/api/include/torch/version.h",
    "include/torch/version.h",
  ]) {
    const path = join(root, file);
    if (!existsSync(path)) continue;
    const text = readFileSync(path, "utf8");
    const part = (name) => new RegExp(`define TORCH_VERSION_${name} (\\d+)`).exec(text)?.[1];
    if (part("MAJOR")) return `${part("MAJOR")}.${part("MINOR")}.${part("PATCH")}`;
  }
  return null;
}

/** Wheels were compiled with the old string ABI for years: the mangled name of a c10 function tells. */
function readCxx11Abi(libc10) {
  if (process.platform === "darwin") return 1;
  const symbols = readFileSync(libc10).toString("latin1");
  const mangled = /_ZN3c105ErrorC[12]E\w+/.exec(symbols)?.[0] ?? symbols;
  return mangled.includes("__cxx11") ? 1 : 0;
}

/** Whether this LibTorch was compiled with Gloo: one of its functions is among the symbols, or is asked for from libgloo. */
function containsGloo(libtorchCpu) {
  const symbol = "_ZN4c10d16ProcessGroupGloo19createDefaultDevice";
  const chunk = Buffer.alloc(1 << 22);
  const file = openSync(libtorchCpu, "r");
  try {
    for (let kept = 0; ; kept = symbol.length) {
      const count = readSync(file, chunk, kept, chunk.length - kept, null);
      if (count === 0) return false;
      if (chunk.subarray(0, kept + count).includes(symbol)) return true;
      // A symbol may lie across two chunks.
      chunk.copyWithin(0, kept + count - symbol.length, kept + count);
    }
  } finally {
    closeSync(file);
  }
}

// A wheel's CUDA headers are in packages beside it: site-packages/nvidia/*/include.
function findCudaHeaders(root) {
  const beside = join(dirname(root), "nvidia");
  const candidates = [
    process.env.CUDA_HOME && join(process.env.CUDA_HOME, "include"),
    join(root, "include"),
    ...(basename(root) === "torch"
      ? ["cu14", "cu13", "cuda_runtime"].map((name) => join(beside, name, "include"))
      : []),
    "/usr/local/cuda/include",
    "/usr/include",
  ];
  return candidates.find((folder) => folder && existsSync(join(folder, "cuda_runtime_api.h"))) ?? null;
}

function findNcclHeaders(root) {
  const candidates = [
    join(root, "include"),
    join(dirname(root), "nvidia/nccl/include"),
    "/usr/local/cuda/include",
    "/usr/include",
  ];
  return candidates.find((folder) => existsSync(join(folder, "nccl.h"))) ?? null;
}

/** The BLAS that a system's LibTorch will call: the file behind libblas.so.3, or null where that cannot be told. */
export function systemBlas() {
  try {
    return realpathSync(`/usr/lib/${MULTIARCH}/libblas.so.3`);
  } catch {
    return null;
  }
}
