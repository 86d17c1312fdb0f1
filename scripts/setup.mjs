// Sets the repository up: finds or installs LibTorch, installs the locked npm packages, builds the native addons, compiles
// the TypeScript and bundles the packages. Each step does only what is not done yet; `npm start` and `npm test` run all of it first.
//
//   npm run setup                          with the LibTorch that is found
//   FABRIC_LIBTORCH=/path npm run setup    with another one (builds lie side by side)
//   FABRIC_NO_INSTALL=1                    never installs system packages, only says which are missing
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, freemem } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { bundlePackage } from "./setup/bundle.mjs";
import { findLibTorch, findProgram, systemBlas } from "./setup/libtorch.mjs";
import { makeStandIns } from "./setup/stand-ins.mjs";
import { installCommand, installPackages, libtorchAdvice, SetupError } from "./setup/system.mjs";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUILD = join(ROOT, "packages/torch/build");
const NATIVE = join(ROOT, "packages/torch/native");
const STAMP = join(BUILD, "setup.json");
const PACKAGES = ["packages/torch", "packages/fabric"];
const COMMAND_LINE = join(ROOT, "packages/fabric/bundle/cli/main.js");
const COMMAND = join(ROOT, "node_modules/.bin/fabric");
const PROJECTS = [
  "packages/torch/src",
  "packages/torch/test",
  "packages/fabric/src",
  "packages/fabric/test",
  "examples",
  "benchmarks",
];

/**
 * Does everything that is not done yet. Prints one line for each step that did something; with `verbose` also for those
 * that had nothing to do. Throws a `SetupError` that says what is missing and how to get it.
 */
export async function setUp({ verbose = false } = {}) {
  const say = (line) => console.log(line);
  const sayAll = verbose ? say : () => {};
  // `npm run setup` looks at everything; `npm start` and `npm test` stop here when no file has changed.
  const last = readJson(STAMP);
  if (!verbose && last?.inputs === inputs() && last?.outputs === outputs()) return;

  await withLock(async () => {
    const before = inputs(); // what changes from here on is for the next run
    const torch = needLibTorch(say, sayAll);
    installNpmPackages(say, sayAll);
    const current = buildAddons(torch, say, sayAll);
    writeAtomically(join(BUILD, "current.json"), current);
    compileTypeScript(say, sayAll);
    await bundlePackages(say, sayAll);
    writeAtomically(STAMP, { inputs: before, outputs: outputs() });
  });
}

// ---- LibTorch -----------------------------------------------------------------------------------------------

function needLibTorch(say, sayAll) {
  if (process.platform === "win32") throw new SetupError("Windows is not supported; use WSL 2 with Debian or Ubuntu.");
  let { found, notes, explicit } = findLibTorch();
  if (!found && explicit) {
    throw new SetupError(
      `FABRIC_LIBTORCH=${process.env.FABRIC_LIBTORCH} is no usable LibTorch.\n${indent(notes)}\n` +
        "Needed: an install prefix or a Python package folder with lib/libtorch_cpu.so and include/ATen.",
    );
  }
  if (!found && installPackages(["libtorch", "blas", ...missingTools()], say)) ({ found, notes } = findLibTorch());
  if (!found) {
    throw new SetupError(
      `No LibTorch was found.\n${indent(notes)}\nNeeded: LibTorch 1.13 or newer with its headers. Get it with one of\n` +
        `${libtorchAdvice(["libtorch", "blas", ...missingTools()])}\nand run \`npm run setup\` again.`,
    );
  }
  const [major, minor] = found.version.split(".").map(Number);
  if (major < 1 || (major === 1 && minor < 13)) {
    throw new SetupError(
      `LibTorch ${found.version} at ${found.root} is too old; 1.13 or newer is needed.\n${libtorchAdvice(["libtorch"])}`,
    );
  }
  if (found.system) needFastBlas(say);
  const parts = [found.cuda && "CUDA", found.nccl && "NCCL", found.gloo && "Gloo"].filter(Boolean).join(", ");
  sayAll(`libtorch: ${found.version} at ${found.root} (${found.source}${parts ? `; ${parts}` : ""})`);
  if (!found.gloo)
    say(`libtorch: ${found.root} was compiled without Gloo, so several CPU processes cannot train together with it`);
  return found;
}

// The reference BLAS is some twenty times slower than OpenBLAS, and the openmp one shares LibTorch's thread pool.
function needFastBlas(say) {
  const blas = systemBlas();
  if (!blas || !/lib\/[\w-]+\/blas\/libblas/.test(blas)) return;
  if (!installPackages(["blas"], say)) {
    say(
      `blas: ${blas} is the slow reference BLAS; training will be many times slower. Better: ${installCommand(["blas"])}`,
    );
  }
}

function missingTools() {
  return [
    ["g++", process.env.CXX ?? "c++"],
    ["cmake", "cmake"],
    ["ninja", "ninja"],
  ]
    .filter(([, program]) => !findProgram(basename(program)) && !existsSync(program))
    .map(([need]) => need);
}

// ---- npm packages -------------------------------------------------------------------------------------------

function installNpmPackages(say, sayAll) {
  if (npmPackagesMatch()) return sayAll("npm packages: up to date");
  say("npm packages: installing the locked versions");
  run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], "npm could not install the locked packages");
}

/** Whether what npm says it installed is what the lock file asks for. */
function npmPackagesMatch() {
  const wanted = readJson(join(ROOT, "package-lock.json"))?.packages;
  const installed = readJson(join(ROOT, "node_modules/.package-lock.json"))?.packages;
  if (!wanted || !installed) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith("node_modules/")) return true; // the repository's own packages are links
    if (entry.optional && !installed[path]) return true; // for another platform
    return installed[path]?.version === entry.version && existsSync(join(ROOT, path));
  });
}

// ---- addons -------------------------------------------------------------------------------------------------

/** Builds into a folder of its own for each LibTorch; returns the content of current.json. */
function buildAddons(torch, say, sayAll) {
  const nodeHeaders = createRequire(join(ROOT, "packages/torch/package.json"))("node-api-headers").include_dir;
  const definitions = [
    torch.cuda && "FABRIC_WITH_CUDA",
    torch.nccl && ["FABRIC_WITH_NCCL", "USE_C10D_NCCL"],
    torch.gloo && ["FABRIC_WITH_GLOO", "USE_C10D_GLOO"],
  ]
    .flat()
    .filter(Boolean);
  // Stand-ins for headers that this LibTorch comes without.
  const standIns = torch.missingHeaders.map((name) => (name.startsWith("gloo/") ? "gloo-declarations" : "shims"));
  const include = [...torch.include, ...standIns.map((folder) => join(NATIVE, folder))];
  const settings = {
    NODE_API_INCLUDE: nodeHeaders,
    FABRIC_TORCH_VERSION: torch.version,
    FABRIC_TORCH_INCLUDE: include.join(";"),
    FABRIC_TORCH_LIBRARIES: torch.libraries.join(";"),
    FABRIC_TORCH_RPATH: torch.system ? "" : torch.libDir,
    FABRIC_CXX11_ABI: String(torch.cxx11Abi),
    FABRIC_DEFINITIONS: definitions.join(";"),
  };
  const key = `${torch.version}-${process.platform}-${process.arch}-${hash([JSON.stringify(settings)]).slice(0, 8)}`;
  const folder = join(BUILD, key);
  const library = statSync(torch.libraries[1]);
  const nodeVersion = readJson(join(dirname(nodeHeaders), "package.json"))?.version;
  const sources = listFiles(NATIVE);
  const stamp = hash([
    library.size,
    library.mtimeMs,
    nodeVersion,
    ...sources.flatMap((file) => [relative(NATIVE, file), readFileSync(file)]),
  ]);
  const addon = join(folder, "fabric_torch.node");
  if (existsSync(addon) && readJson(join(folder, "stamp.json"))?.stamp === stamp) {
    sayAll("addon: up to date");
  } else {
    needTools(say);
    const files = sources.filter((file) => file.endsWith(".cc")).length;
    const whole = existsSync(addon) ? "" : `, ${files} files; this takes a minute or two`;
    say(`addon: building for LibTorch ${torch.version}${whole}`);
    const started = Date.now();
    mkdirSync(folder, { recursive: true });
    const options = Object.entries(settings).map(([name, value]) => `-D${name}=${value}`);
    const failed = `The addon could not be built for LibTorch ${torch.version} at ${torch.root}`;
    run("cmake", ["-S", NATIVE, "-B", folder, "-G", "Ninja", "-Wno-dev", ...options], failed);
    // A compiler process takes up to 0.7 GB with LibTorch's headers.
    const jobs = Math.max(1, Math.min(availableParallelism(), Math.floor(freemem() / 7e8)));
    run("cmake", ["--build", folder, "--parallel", String(jobs)], failed, { live: process.stdout.isTTY });
    writeAtomically(join(folder, "stamp.json"), { stamp });
    say(`addon: built in ${((Date.now() - started) / 1000).toFixed(0)} s`);
  }
  const process_ = join(folder, "fabric_process.node");
  return {
    key,
    addon: relative(BUILD, addon),
    standIns: libraryStandIns(addon, torch, say),
    process: existsSync(process_) ? relative(BUILD, process_) : null,
    torch: torch.version,
    root: torch.root,
    cuda: Boolean(torch.cuda),
    library: torch.libraries[1],
  };
}

/** What stand-ins.mjs makes, made again when that script or the system's packages have changed. */
function libraryStandIns(addon, torch, say) {
  const folder = dirname(addon);
  const record = join(folder, "stand-ins.json");
  const script = readFileSync(join(ROOT, "scripts/setup/stand-ins.mjs"), "utf8");
  const made = hash([script, modified(torch.libraries[1]), modified("/var/lib/dpkg/status")]);
  const known = readJson(record);
  if (known?.made === made) return known.standIns;
  const result = makeStandIns(addon, torch, folder);
  const found =
    typeof result === "string"
      ? { reason: result }
      : { file: relative(BUILD, join(folder, "stand-ins.node")), ...result };
  if (found.file) {
    say(
      `libtorch: loads ${found.with} libraries instead of ${found.without}; \`npm run doctor\` says which ones it spares`,
    );
  }
  writeAtomically(record, { made, standIns: found });
  return found;
}

function needTools(say) {
  const missing = missingTools();
  if (missing.length === 0 || installPackages(missing, say)) return;
  const command = installCommand(missing);
  throw new SetupError(
    `To build the native addon ${missing.join(", ")} ${missing.length > 1 ? "are" : "is"} needed and not on the PATH.\n` +
      (command
        ? `Get ${missing.length > 1 ? "them" : "it"} with\n  ${command}\nand run \`npm run setup\` again.`
        : "Install what is missing and run `npm run setup` again."),
  );
}

// ---- TypeScript ---------------------------------------------------------------------------------------------

function compileTypeScript(say, sayAll) {
  const started = Date.now();
  const before = PROJECTS.map(outputTime).join();
  run(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-b"], "The TypeScript does not compile");
  if (PROJECTS.map(outputTime).join() === before) return sayAll("typescript: up to date");
  say(`typescript: compiled in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

async function bundlePackages(say, sayAll) {
  for (const name of PACKAGES) {
    const folder = join(ROOT, name);
    const makers = ["scripts/setup/bundle.mjs", "node_modules/esbuild/package.json", `${name}/package.json`];
    const made = hash([outputTime(`${name}/src`), ...makers.map((file) => readFileSync(join(ROOT, file), "utf8"))]);
    if (readJson(bundleStamp(name))?.made === made) {
      sayAll(`bundle: ${name} is up to date`);
      continue;
    }
    const started = Date.now();
    try {
      await bundlePackage(folder);
    } catch (error) {
      throw new SetupError(`${name} could not be bundled.\n${error.message}`);
    }
    writeAtomically(bundleStamp(name), { made });
    say(`bundle: ${name} bundled in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  }
  linkCommand();
}

/** What `npx fabric` runs. npm links no command whose file does not exist yet. */
function linkCommand() {
  chmodSync(COMMAND_LINE, 0o755);
  const target = relative(dirname(COMMAND), COMMAND_LINE);
  if (lstatSync(COMMAND, { throwIfNoEntry: false })?.isSymbolicLink() && readlinkSync(COMMAND) === target) return;
  rmSync(COMMAND, { force: true });
  mkdirSync(dirname(COMMAND), { recursive: true });
  symlinkSync(target, COMMAND);
}

function bundleStamp(name) {
  return join(ROOT, name, "bundle/stamp.json");
}

function outputTime(project) {
  const folder = { src: "../dist", test: "../dist-test" }[basename(project)] ?? "dist";
  return modified(join(ROOT, project, folder, ".tsbuildinfo"));
}

// ---- helpers ------------------------------------------------------------------------------------------------

/** Changes whenever a source or a setting changed: sizes and times, no contents. */
function inputs() {
  const files = [
    ...["package.json", "package-lock.json", "tsconfig.json", "tsconfig.base.json", "scripts/setup.mjs"].map((file) =>
      join(ROOT, file),
    ),
    ...PACKAGES.map((name) => join(ROOT, name, "package.json")),
    ...listFiles(join(ROOT, "scripts/setup")),
    ...listFiles(NATIVE),
    ...PROJECTS.flatMap((project) => listFiles(join(ROOT, project))),
  ];
  const { FABRIC_LIBTORCH, VIRTUAL_ENV, CONDA_PREFIX, PATH, CUDA_HOME, CXX } = process.env;
  const facts = [process.version, FABRIC_LIBTORCH, VIRTUAL_ENV, CONDA_PREFIX, PATH, CUDA_HOME, CXX];
  return hash([JSON.stringify(facts), ...files.map((file) => `${file} ${modified(file)}`)]);
}

/** Changes whenever something that set-up made, or the LibTorch that it was made for, is gone or another. */
function outputs() {
  const current = readJson(join(BUILD, "current.json"));
  const files = [
    join(ROOT, "node_modules/.package-lock.json"),
    COMMAND,
    current ? join(BUILD, current.addon) : "",
    current?.library ?? "",
  ];
  return hash([...[...files, ...PACKAGES.map(bundleStamp)].map(modified), ...PROJECTS.map(outputTime)]);
}

function modified(path) {
  const stat = path ? statSync(path, { throwIfNoEntry: false }) : undefined;
  return stat ? `${stat.size}:${stat.mtimeMs}` : "absent";
}

/** All files below a folder but build outputs, sorted. */
function listFiles(folder) {
  if (!existsSync(folder)) return [];
  const skipped = new Set(["dist", "dist-test", "bundle", "build", "node_modules"]);
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !skipped.has(entry.name))
    .flatMap((entry) => (entry.isDirectory() ? listFiles(join(folder, entry.name)) : [join(folder, entry.name)]))
    .sort();
}

function hash(parts) {
  const sum = createHash("sha256");
  for (const part of parts) sum.update(typeof part === "number" ? String(part) : (part ?? "")).update("\0");
  return sum.digest("hex");
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

function writeAtomically(path, value) {
  writeFileSync(`${path}.new`, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(`${path}.new`, path);
}

function run(command, args, failure, { live = false } = {}) {
  const done = spawnSync(command, args, {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", live ? "inherit" : "pipe", live ? "inherit" : "pipe"],
  });
  if (done.status === 0) return;
  const output = `${done.stdout ?? ""}${done.stderr ?? ""}`.trim();
  throw new SetupError(
    `${failure}.\n${done.error ? done.error.message : output}\nThe command was: ${basename(command)} ${args.join(" ")}`,
  );
}

function indent(lines) {
  return lines.map((line) => `  looked at ${line}`).join("\n");
}

/** Runs `body` while no other set-up of this folder runs; a lock whose owner is gone is taken over. */
async function withLock(body) {
  const lock = join(BUILD, "setup.lock");
  mkdirSync(BUILD, { recursive: true });
  for (let told = false; ; ) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const owner = Number(readOr(lock, ""));
    if (owner && !isAlive(owner)) {
      rmSync(lock, { force: true });
      continue;
    }
    if (!told) console.log(`set-up: waiting for another one (process ${owner || "unknown"})`);
    told = true;
    await new Promise((wake) => setTimeout(wake, 200));
  }
  try {
    return await body();
  } finally {
    rmSync(lock, { force: true });
  }
}

function readOr(path, fallback) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return fallback;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Runs `main` and turns a `SetupError` into its message and exit code 1. */
export async function orExit(main) {
  try {
    return await main();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`\n${error.message}`);
    process.exit(1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await orExit(() => setUp({ verbose: true }));
