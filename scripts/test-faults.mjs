// Makes jobs fail in every way and looks at what becomes of them: the fault matrix and what belongs to it, packages/*/test/**/*.faults.ts.
//
//   npm run test:faults                                what fits into a few minutes: every fault, phase, launcher and victim
//   npm run test:faults -- --all                       every combination of them
//   npm run test:faults -- --filter "spawn SIGKILL"    only tests whose titles contain all of the words
//   npm run test:faults -- matrix                      only files whose path contains one of the words
//   npm run test:faults -- --test-name-pattern=disk    other options go to `node --test`
import { spawn, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { orExit, ROOT, setUp } from "./setup.mjs";

await orExit(() => setUp());

const words = [];
const options = [];
const env = { ...process.env };
const args = process.argv.slice(2);
for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
  if (arg === "--all") env.FABRIC_FAULTS_ALL = "1";
  else if (arg === "--filter") env.FABRIC_FAULTS_FILTER = args.shift() ?? usage("--filter needs words");
  else if (arg.startsWith("--filter=")) env.FABRIC_FAULTS_FILTER = arg.slice("--filter=".length);
  else (arg.startsWith("-") ? options : words).push(arg);
}
const files = ["packages/torch", "packages/fabric"].flatMap((part) =>
  readdirSync(join(ROOT, part, "test"), { recursive: true })
    .filter((path) => path.endsWith(".faults.ts"))
    .map((path) => join(part, "test", path))
    .filter((source) => words.length === 0 || words.some((word) => source.includes(word)))
    .sort()
    .map((source) => join(ROOT, part, "dist-test", relative(join(part, "test"), source)).replace(/\.ts$/, ".js")),
);
if (files.length === 0) usage(`no file's path contains ${words.join(" or ")}`);

// One file after the other: each of them runs as many jobs at once as there are cores for.
env.OMP_NUM_THREADS ??= "1";
if (!options.some((option) => option.startsWith("--test-reporter"))) {
  options.push(`--test-reporter=${join(ROOT, "scripts/faults/reporter.mjs")}`);
}
const node = [
  "--enable-source-maps",
  "--conditions=fabric-ts-modules",
  "--test",
  "--test-concurrency=1",
  "--test-timeout=3600000",
  ...options,
  ...files,
];
// Mounts of its own, for small disks: nobody else sees them, and they are gone with the tests.
const unshare = ["--mount", "--", process.execPath];
const hasMounts = process.getuid?.() === 0 && spawnSync("unshare", [...unshare, "--version"]).status === 0;
if (hasMounts) env.FABRIC_FAULTS_MOUNTS = "1";
const command = hasMounts ? ["unshare", ...unshare] : [process.execPath];
const child = spawn(command[0], [...command.slice(1), ...node], { cwd: ROOT, env, stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(code ?? (signal ? 1 : 0)));

function usage(problem) {
  console.error(
    `test:faults: ${problem}\nusage: npm run test:faults -- [--all] [--filter WORDS] [options of node --test] [WORDS OF PATHS]`,
  );
  process.exit(2);
}
