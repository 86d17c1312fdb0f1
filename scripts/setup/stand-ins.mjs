// Stand-ins for libraries that LibTorch names but never calls. Debian's LibTorch is linked with OpenCV, ffmpeg and others, whose
// users inside it (Caffe2's operators for images and videos) are not compiled in; together they bring some 250 libraries into every
// process, which takes longer than LibTorch itself. An empty library under the same name, loaded first, keeps them out.
//
// A library gets a stand-in only if nothing that stays loaded refers to any of its symbols, if it would bring several others along, and
// after a process has loaded the addon with all stand-ins, every symbol of every library bound, and computed with it.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { findProgram } from "./libtorch.mjs";

/** A library that brings fewer others along is loaded as it is. */
const FEWEST_BROUGHT = 5;
/** When all stand-ins together spare a process fewer libraries, there are none. */
const FEWEST_SPARED = 50;
// Part of every process, whether it refers to them or not.
const BASE = /^(ld-linux.*|libc|libm|libdl|libpthread|librt|libutil|libresolv|libanl|libgcc_s|libstdc\+\+)\.so/;

/**
 * Makes the stand-ins for the libraries behind `addon` in `folder`: one Node addon `stand-ins.node` that loads them all. Returns the names
 * that they stand for and how many libraries are loaded with and without; or a sentence that says why there are none.
 */
export function makeStandIns(addon, torch, folder) {
  if (process.platform !== "linux") return "they are for Linux";
  if (!torch.system) return `${torch.root} is no distribution's LibTorch`;
  if (!findProgram("readelf") || !findProgram("ldd")) return "they need the programs readelf and ldd";
  const paths = loadedLibraries(addon);
  if (paths === null) return `ldd does not find all libraries of ${addon}`;
  const names = unusedNames(addon, torch.libraries, paths);
  if (names.length === 0) return "it calls all those that bring others along";
  const made = tryStandIns(addon, names, folder);
  if (typeof made === "string") return made;
  const spared = paths.size - made.libraries;
  if (spared < FEWEST_SPARED) return `they would spare a process ${spared} libraries only`;
  return { names, without: paths.size, with: made.libraries };
}

/** Makes stand-ins for these libraries and tries them: how many libraries a process has then, or a sentence that says what went wrong. */
export function tryStandIns(addon, names, folder) {
  rmSync(join(folder, "stand-ins"), { recursive: true, force: true });
  const failure = compile(names, folder);
  if (failure !== null) return `they do not compile: ${failure}`;
  const checked = check(addon, join(folder, "stand-ins.node"));
  return typeof checked === "string" ? `LibTorch does not work with them: ${checked}` : checked;
}

/** Path of each library that loading `addon` loads, by name; null when one is not found. */
export function loadedLibraries(addon) {
  const { status, stdout } = spawnSync("ldd", [addon], { encoding: "utf8" });
  if (status !== 0 || stdout.includes("=> not found")) return null;
  return new Map([...stdout.matchAll(/^\s+(\S+) => (\/\S+)/gm)].map(([, name, path]) => [name, path]));
}

/** Libraries that LibTorch's own name, but whose symbols neither they nor anything else that is needed refers to, and that bring others along. */
export function unusedNames(addon, torchLibraries, paths) {
  const symbols = new Map();
  const read = (path) => {
    if (!symbols.has(path)) symbols.set(path, readSymbols(path));
    return symbols.get(path);
  };
  const kept = new Set([addon, ...torchLibraries]);
  const wanted = new Set();
  const isUsed = (name) => {
    for (const symbol of read(paths.get(name)).defined) if (wanted.has(symbol)) return true;
    return false;
  };
  for (let before = -1; before !== kept.size; ) {
    before = kept.size;
    for (const path of kept) for (const symbol of read(path).wanted) wanted.add(symbol);
    for (const path of [...kept]) {
      for (const name of read(path).needed) if (paths.has(name) && isUsed(name)) kept.add(paths.get(name));
    }
  }
  const keptNames = new Set([...kept].map((path) => basename(path)));
  const isKept = (name) => kept.has(paths.get(name)) || keptNames.has(name) || BASE.test(name);
  const named = new Set(torchLibraries.flatMap((path) => read(path).needed));
  const unused = [...named].filter((name) => paths.has(name) && !isKept(name));
  const namesOf = namesByPath([addon, ...torchLibraries, ...paths.values()]);
  const reach = (path, found = new Set(), without = []) => {
    for (const name of namesOf.get(path) ?? []) {
      if (found.has(name) || without.includes(name)) continue;
      found.add(name);
      reach(paths.get(name), found, without);
    }
    return found;
  };
  const rest = reach(addon, new Set(), unused);
  const brought = (name) => [...reach(paths.get(name))].filter((other) => !rest.has(other));
  // What is loaded as it is needs what it needs as it is.
  const light = unused.filter((name) => brought(name).length < FEWEST_BROUGHT);
  const real = new Set(light.flatMap((name) => [name, ...brought(name)]));
  return unused.filter((name) => !real.has(name)).sort();
}

/** The names of the libraries that each file needs itself. */
function namesByPath(paths) {
  const { stdout } = spawnSync("readelf", ["-d", ...paths], { encoding: "utf8", maxBuffer: 1 << 28 });
  const sections = stdout.split(/^File: /m).slice(1);
  return new Map(sections.map((section) => [section.slice(0, section.indexOf("\n")), neededIn(section)]));
}

/** The same from the output of readelf. */
function neededIn(text) {
  return [...text.matchAll(/\(NEEDED\)\s+Shared library: \[([^\]]+)\]/g)].map(([, name]) => name);
}

/** What an ELF file needs: libraries by name, symbols; and the symbols that it defines. Versions of symbols do not matter here. */
function readSymbols(path) {
  const run = spawnSync("readelf", ["-W", "-d", "--dyn-syms", path], { encoding: "utf8", maxBuffer: 1 << 28 });
  const [wanted, defined] = [new Set(), new Set()];
  for (const [, place, name] of run.stdout.matchAll(
    /^ +\d+: \S+ +\S+ +\S+ +(?:GLOBAL|WEAK|UNIQUE) +\S+ +(\S+) ([^@\s]+)/gm,
  )) {
    (place === "UND" ? wanted : defined).add(name);
  }
  return { needed: neededIn(run.stdout), wanted, defined };
}

/** One empty library under all names, and the addon that loads it under each; null, or what went wrong. */
function compile(names, folder) {
  const libraries = join(folder, "stand-ins");
  mkdirSync(libraries, { recursive: true });
  const source = join(libraries, "addon.cc");
  writeFileSync(source, 'extern "C" void* napi_register_module_v1(void*, void* exports) { return exports; }\n');
  for (const name of names) symlinkSync("empty.so", join(libraries, name));
  const commands = [
    ["-o", join(libraries, "empty.so"), "-x", "c++", "/dev/null"],
    [
      ...["-fPIC", "-o", join(folder, "stand-ins.node"), source],
      ...[
        "-Wl,--no-as-needed",
        "-Wl,--disable-new-dtags",
        "-Wl,-rpath,$ORIGIN/stand-ins",
        `-L${libraries}`,
        ...names.map((name) => `-l:${name}`),
      ],
    ],
  ];
  for (const args of commands) {
    const { status, stderr, error } = spawnSync(process.env.CXX ?? "c++", ["-shared", "-nostdlib", ...args], {
      encoding: "utf8",
    });
    if (status !== 0) return error?.message ?? stderr.trim();
  }
  return null;
}

/** Loads the addon behind the stand-ins and computes with it, in a process of its own: how many libraries it has, or what went wrong. */
function check(addon, standIns) {
  const program = `
    require(${JSON.stringify(standIns)});
    const native = require(${JSON.stringify(addon)});
    native.setup((kind, message) => new Error(kind + ": " + message), () => {}, () => {});
    const call = (name, ...args) => native.call(native.resolve("aten", name), ...args);
    const product = call("sum", call("matmul", call("ones", [64, 64]), call("ones", [64, 64])));
    const convolved = call("sum", call("conv2d", call("ones", [1, 1, 6, 6]), call("ones", [1, 1, 3, 3])));
    const inverse = call("sum", call("linalg_inv", call("mul", call("eye", 8), 4)));
    const results = [product, convolved, inverse].map((handle) => native.item(handle)).join();
    if (results !== "262144,144,2") throw new Error("it computes " + results);
    const maps = require("node:fs").readFileSync("/proc/self/maps", "utf8");
    const libraries = new Set(maps.match(/\\/\\S+\\.so(\\.\\S+)?$/gm)).size;
    require("node:fs").writeSync(1, JSON.stringify({ libraries }));
    process.kill(process.pid, "SIGKILL");`;
  const env = { ...process.env, LD_BIND_NOW: "1", OMP_NUM_THREADS: "1" };
  const { stdout, stderr } = spawnSync(process.execPath, ["-e", program], { env, encoding: "utf8", timeout: 60_000 });
  if (stdout) return JSON.parse(stdout);
  return /^\w*Error: .*/m.exec(stderr)?.[0] ?? stderr.trim();
}
