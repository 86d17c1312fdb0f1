// Lint and formatting: biome for everything it knows, clang-format for the addons where it is installed.
//
//   npm run lint              check
//   npm run lint -- --write   repair what can be repaired
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "./setup/libtorch.mjs";
import { ROOT } from "./setup.mjs";

const write = process.argv.includes("--write");
let failed = false;

function check(name, command, args) {
  const run = spawnSync(command, args, { cwd: ROOT, stdio: "inherit" });
  if (run.status !== 0) failed = true;
  console.log(`${name}: ${run.status === 0 ? "clean" : "see above"}`);
}

check("biome", process.execPath, [
  join(ROOT, "node_modules/@biomejs/biome/bin/biome"),
  "check",
  "--error-on-warnings",
  ...(write ? ["--write"] : []),
  ".",
]);

const clangFormat = findProgram("clang-format") ?? findProgram("clang-format-14");
if (clangFormat) {
  const native = join(ROOT, "packages/torch/native");
  const files = readdirSync(native, { recursive: true }).filter((file) => /\.(cc|h)$/.test(file));
  check("clang-format", clangFormat, [
    ...(write ? ["-i"] : ["--dry-run", "-Werror"]),
    ...files.map((file) => join(native, file)),
  ]);
} else {
  console.log("clang-format: skipped, it is not installed (Debian: apt-get install clang-format)");
}
process.exit(failed ? 1 : 0);
