// `npm run bench`: what operators, training steps, start-up and memory cost here and in Python on the same LibTorch, measured
// in turn in one run. Prints a table of medians and ratios (below 1 is better than Python) and keeps it in benchmarks/results/.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { versions } from "@fabric-ts/torch";
import { measureStartUp } from "./start-up.js";

const { values: options } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, quick: { type: "boolean", default: false } },
});
const rounds = options.quick ? 1 : Number(options.rounds);
const workerJs = fileURLToPath(new URL("./worker.js", import.meta.url));
const workerPy = fileURLToPath(new URL("../worker.py", import.meta.url));
const results = fileURLToPath(new URL("../results/", import.meta.url));
// It makes Node read all certificates at its start, which has nothing to do with what is measured here.
const hadCertificates = process.env.NODE_EXTRA_CA_CERTS !== undefined;
delete process.env.NODE_EXTRA_CA_CERTS;
const pythonPath = process.env.FABRIC_PYTHON ?? "/usr/bin/python3";

interface Steps {
  medianMs: number;
  peakMb: number;
  firstStepMs: number;
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** Runs a worker and gives the object that it printed last. */
function runWorker(command: string, args: string[], threads: number): Promise<Record<string, number>> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, OMP_NUM_THREADS: String(threads) },
    });
    let text = "";
    let errors = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk;
    });
    // Shown only of a worker that fails: the workers of DDP train on the same data, which a table is no place to warn of.
    child.stderr?.on("data", (chunk: Buffer) => {
      errors += chunk;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      const line = text
        .trim()
        .split("\n")
        .findLast((candidate) => candidate.startsWith("{"));
      if (code !== 0 || !line)
        reject(new Error(`${command} ${args.join(" ")} ended with code ${code}: ${text}${errors}`));
      else resolve(JSON.parse(line) as Record<string, number>);
    });
  });
}

async function runSteps(command: string, args: string[], threads: number): Promise<Steps> {
  const started = Date.now();
  const got = await runWorker(command, args, threads);
  return { medianMs: got.medianMs ?? 0, peakMb: got.peakMb ?? 0, firstStepMs: (got.firstStepAt ?? 0) - started };
}

function hasPythonTorch(): boolean {
  try {
    execFileSync(pythonPath, ["-c", "import torch"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const lines: string[] = [];
function print(line = ""): void {
  lines.push(line);
  console.log(line);
}

function row(label: string, ours: number[], theirs: number[], unit: string, digits: number): void {
  const ratios = ours.map((value, i) => value / (theirs[i] ?? Number.NaN));
  const cells = [median(ours).toFixed(digits), median(theirs).toFixed(digits), median(ratios).toFixed(2)];
  print(`| ${label} | ${cells[0]} ${unit} | ${cells[1]} ${unit} | ${cells[2]} |`);
}

function head(title: string): void {
  print(`\n## ${title}\n`);
  print("| | TypeScript | Python | ratio |");
  print("| --- | ---: | ---: | ---: |");
}

if (!hasPythonTorch()) {
  console.error(
    `${pythonPath} has no torch, so there is nothing to compare with.\nOn Debian: apt-get install python3-torch; or set FABRIC_PYTHON to a Python with torch.`,
  );
  process.exit(1);
}
const torchOfPython = execFileSync(pythonPath, ["-c", "import torch; print(torch.__version__)"], {
  encoding: "utf8",
}).trim();
print(`# Benchmarks of ${new Date().toISOString().slice(0, 10)}`);
print(
  `\nLibTorch ${versions().torch}, Python's torch ${torchOfPython}, Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model.trim()}.`,
);
print(`Medians of ${rounds} rounds, TypeScript and Python in turn, ratios pair by pair. Command: npm run bench`);

const calls = options.quick ? 2_000 : 50_000;
const operatorRounds: [Record<string, number>, Record<string, number>][] = [];
for (let i = 0; i < rounds; i++) {
  const ours = await runWorker(process.execPath, [workerJs, "operators", String(calls)], 1);
  operatorRounds.push([ours, await runWorker(pythonPath, [workerPy, "operators", String(calls)], 1)]);
}
head("One call of an operator on small tensors (one thread)");
for (const name of Object.keys(operatorRounds[0]?.[0] ?? {})) {
  row(
    name,
    operatorRounds.map(([ours]) => ours[name] ?? 0),
    operatorRounds.map(([, theirs]) => theirs[name] ?? 0),
    "ns",
    0,
  );
}

const counts: Record<string, number> = { mlp: 1000, convnet: 100, gpt: 40 };
const setups: [title: string, through: string, devices: number][] = [
  ["one process, plain", "torch", 1],
  ["one process, through Fabric (Python: plain)", "fabric", 1],
  ["two processes, DDP", "fabric", 2],
];
const startRows: (() => void)[] = [];
for (const [title, through, devices] of setups) {
  const measured: Record<string, [Steps, Steps][]> = {};
  for (const [name, full] of Object.entries(counts)) {
    const count = String(options.quick ? Math.ceil(full / 20) : full);
    measured[name] = [];
    for (let i = 0; i < rounds; i++) {
      const ours = await runSteps(process.execPath, [workerJs, "steps", name, through, String(devices), count], 1);
      const theirs = await runSteps(pythonPath, [workerPy, "steps", name, "torch", String(devices), count], 1);
      measured[name].push([ours, theirs]);
    }
  }
  head(`A training step: ${title} (one thread a process)`);
  for (const [name, pairs] of Object.entries(measured)) {
    row(
      name,
      pairs.map(([ours]) => ours.medianMs),
      pairs.map(([, theirs]) => theirs.medianMs),
      "ms",
      3,
    );
  }
  startRows.push(() => {
    const pairs = measured.mlp ?? [];
    row(
      `first step, mlp, ${title}`,
      pairs.map(([ours]) => ours.firstStepMs),
      pairs.map(([, theirs]) => theirs.firstStepMs),
      "ms",
      0,
    );
    for (const [name, some] of Object.entries(measured)) {
      row(
        `peak memory of a process, ${name}, ${title}`,
        some.map(([ours]) => ours.peakMb),
        some.map(([, theirs]) => theirs.peakMb),
        "MB",
        0,
      );
    }
  });
}
head("From the command to the end of the first step, and peak memory");
for (const show of startRows) show();

const { importTorch, ...startUp } = await measureStartUp(3 * rounds, pythonPath, async (devices) => {
  const args = [workerJs, "steps", "mlp", "fabric", String(devices), "1"];
  const { startedAt = Number.NaN, firstStepAt = Number.NaN } = await runWorker(process.execPath, args, 1);
  return { startedAt, firstStepAt };
});
const importMs = median(importTorch);
print(`\n## Start-up, in parts of \`${pythonPath} -c 'import torch'\` (${importMs.toFixed(0)} ms)\n`);
if (hadCertificates) print("Without NODE_EXTRA_CA_CERTS, which was set and is a part of Node's own start.\n");
print("| | TypeScript | ratio of the medians |");
print("| --- | ---: | ---: |");
const startUpLabels: [keyof typeof startUp, string][] = [
  ["oneDevice", "from the command to the end of the first step, mlp, one device"],
  ["twoDevices", "the same, two devices"],
  ["launcher", "the launcher's share of that: from the command to the start of the first rank"],
];
for (const [name, label] of startUpLabels) {
  const ms = median(startUp[name]);
  print(`| ${label} | ${ms.toFixed(0)} ms | ${(ms / importMs).toFixed(2)} |`);
}

if (!options.quick) {
  mkdirSync(results, { recursive: true });
  const path = `${results}${new Date().toISOString().slice(0, 10)}-torch${versions().torch}.md`;
  writeFileSync(path, `${lines.join("\n")}\n`);
  console.log(`\nwritten to ${path}`);
}
