// Looks for data races in the addon: builds it with the compiler's thread sanitizer and runs the tests of what several threads do
// (collectives, data-parallel training, callbacks from other threads, waiting). LibTorch and Node are not built that way, so only
// what the addon itself does is seen.
//
//   npm run test:races                   those tests
//   npm run test:races -- collectives    only those whose path contains the word
//
// Linux with g++. Exit code 3: the sanitizer does not work here, and nothing was tested.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { orExit, ROOT, setUp } from "./setup.mjs";

const TESTS = ["torch/test/distributed/", "torch/test/autograd", "fabric/test/collectives/", "fabric/test/strategies/"];
const FLAGS = "-fsanitize=thread -g -O1";
const SETTINGS = /^((?:FABRIC_|NODE_API_)\w+)(?::\w+)?=(.*)$/gm;

const words = process.argv.slice(2);
await orExit(() => setUp());
const folder = join(ROOT, "packages/torch/build");
const current = join(folder, JSON.parse(readFileSync(join(folder, "current.json"), "utf8")).key);
const races = `${current}-races`;
const reports = mkdtempSync(join(tmpdir(), "fabric-races-"));
process.on("exit", () => rmSync(reports, { recursive: true, force: true }));

if (process.platform !== "linux") cannot("it needs Linux");
const runtime = runtimeOf();
const sanitized = {
  ...process.env,
  LD_PRELOAD: runtime,
  TSAN_OPTIONS: `ignore_noninstrumented_modules=1 history_size=4 report_thread_leaks=0 exitcode=0 log_path=${join(reports, "report")}`,
};
checkSanitizer();
build();

console.log("races: tests with the thread sanitizer");
const tested = spawnSync(process.execPath, ["scripts/test.mjs", ...(words.length > 0 ? words : TESTS)], {
  cwd: ROOT,
  stdio: "inherit",
  env: { ...sanitized, FABRIC_TORCH_ADDON: join(races, "fabric_torch.node"), FABRIC_FULL_LIBTORCH: "1" },
});
const found = readdirSync(reports).map((name) => readFileSync(join(reports, name), "utf8"));
for (const text of found) process.stderr.write(text);
console.log(found.length > 0 ? `races: reports of ${found.length} processes, above` : "races: none reported");
process.exit(found.length > 0 ? 1 : (tested.status ?? 1));

function runtimeOf() {
  const asked = spawnSync("g++", ["-print-file-name=libtsan.so"], { encoding: "utf8" });
  const path = asked.stdout?.trim() ?? "";
  if (!path.includes("/")) cannot("g++ has no libtsan.so");
  return realpathSync(path);
}

function checkSanitizer() {
  const program = join(reports, "known-race");
  const made = spawnSync("g++", [...FLAGS.split(" "), "-o", program, join(ROOT, "scripts/races/known-race.cc")]);
  if (made.status !== 0) cannot(`g++ cannot build with it:\n${made.stderr}`);
  const run = spawnSync(program, [], { encoding: "utf8", env: sanitized });
  rmSync(program);
  const names = readdirSync(reports);
  const text = names.map((name) => readFileSync(join(reports, name), "utf8")).join("");
  if (!text.includes("data race"))
    cannot(`it does not report a race that is there (exit code ${run.status})\n${run.stderr}`);
  for (const name of names) rmSync(join(reports, name));
}

function build() {
  console.log("races: building the addon with the thread sanitizer");
  const cache = readFileSync(join(current, "CMakeCache.txt"), "utf8");
  const settings = [...cache.matchAll(SETTINGS)].map(([, name, value]) => `-D${name}=${value}`);
  mkdirSync(races, { recursive: true });
  const options = ["-S", join(ROOT, "packages/torch/native"), "-B", races, "-G", "Ninja", "-Wno-dev"];
  for (const args of [
    [...options, `-DCMAKE_CXX_FLAGS=${FLAGS}`, ...settings],
    ["--build", races, "--target", "fabric_torch", "--parallel", String(availableParallelism())],
  ]) {
    const done = spawnSync("cmake", args, { encoding: "utf8" });
    if (done.status === 0) continue;
    console.error(`${done.stdout}${done.stderr}`);
    process.exit(1);
  }
}

function cannot(reason) {
  console.error(`races: nothing was tested: ${reason}`);
  process.exit(3);
}
