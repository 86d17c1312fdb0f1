// Sets up, then runs the tests: all of them, or those whose path contains one of the words given.
//
//   npm test                                          everything
//   npm test -- nn/ packages/torch/test/optim         some files
//   npm test -- --test-name-pattern="no process"      options go to `node --test`
import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { orExit, ROOT, setUp } from "./setup.mjs";

await orExit(() => setUp());

const args = process.argv.slice(2);
const words = args.filter((arg) => !arg.startsWith("-"));
const options = args.filter((arg) => arg.startsWith("-"));
// Named by the sources, so that what remains of a deleted test is not run.
const files = ["packages/torch", "packages/fabric", "examples", "benchmarks"].flatMap((part) => {
  const [sources, compiled] = part.startsWith("packages/")
    ? [`${part}/test`, `${part}/dist-test`]
    : [part, `${part}/dist`];
  return testsIn(join(ROOT, sources))
    .map((path) => ({
      source: path,
      compiled: join(ROOT, compiled, relative(join(ROOT, sources), path)).replace(/\.ts$/, ".js"),
    }))
    .filter(({ source }) => words.length === 0 || words.some((word) => relative(ROOT, source).includes(word)))
    .map((test) => test.compiled);
});
if (files.length === 0) {
  console.error(`No test file's path contains ${words.join(" or ")}.`);
  process.exit(1);
}

// Several files at once, each with its share of the cores: LibTorch's own threads would fight otherwise.
const cores = availableParallelism();
const atOnce = Math.max(2, Math.floor(cores / 2));
const env = { ...process.env };
env.OMP_NUM_THREADS ??= String(Math.max(1, Math.floor(cores / atOnce)));
if (!options.some((option) => option.startsWith("--test-reporter"))) options.push("--test-reporter=spec");
const child = spawn(
  process.execPath,
  // Tests look at single modules of the packages, so they import the packages as modules. The programs that they start get the bundles.
  [
    "--enable-source-maps",
    "--conditions=fabric-ts-modules",
    "--test",
    `--test-concurrency=${atOnce}`,
    "--test-timeout=900000",
    ...options,
    ...files,
  ],
  { cwd: ROOT, env, stdio: "inherit" },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(code ?? (signal ? 1 : 0)));

function testsIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      if (entry.isDirectory())
        return entry.name === "dist" || entry.name === "node_modules" ? [] : testsIn(join(folder, entry.name));
      return entry.name.endsWith(".test.ts") ? [join(folder, entry.name)] : [];
    })
    .sort();
}
