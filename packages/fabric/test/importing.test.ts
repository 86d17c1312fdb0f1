// What importing the packages does to a process: nothing that one would notice. And the environment variables that they read.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { it } from "node:test";
import { fileURLToPath } from "node:url";
import * as fabric from "@fabric-ts/fabric";
import { cleanEnvironment } from "./support/run-ranks.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");

it("importing sets nothing, listens to nothing, says nothing, and loads no engine", () => {
  const program = `
    const state = () => JSON.stringify([process.env, process.execArgv, process.title, process.exitCode ?? null,
      process.eventNames().map((name) => [String(name), process.listenerCount(name)]).sort()]);
    const before = state();
    await import("@fabric-ts/fabric");
    const same = state() === before;
    const engine = () => process.report.getReport().sharedObjects.filter((path) => /libtorch|libc10/.test(path)).length;
    const loaded = engine();
    (await import("@fabric-ts/torch")).ones([1]);
    console.log(JSON.stringify({ same, loaded, atTheFirstTensor: engine() > 0 }));`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: dirname(fileURLToPath(import.meta.url)),
    encoding: "utf8",
    env: cleanEnvironment(),
  });
  assert.equal(status, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), { same: true, loaded: 0, atTheFirstTensor: true });
  assert.equal(stderr, "");
});

it("the index has what programs begin with, and none of the names that Lightning keeps for old code", () => {
  const { Fabric, isWrapped, seedEverything } = fabric;
  for (const exported of [Fabric, isWrapped, seedEverything]) assert.equal(typeof exported, "function");
  const old = ["TPUAccelerator", "TPUPrecision", "TPUBf16Precision", "SingleTPUStrategy", "LightningDeepSpeedStrategy"];
  assert.deepEqual(
    old.filter((name) => name in fabric),
    [],
  );
});

it("accelerators and strategies have their names once the package is imported", () => {
  const { acceleratorRegistry, strategyRegistry } = fabric;
  assert.deepEqual([...acceleratorRegistry.names()].sort(), ["cpu", "cuda", "mps", "tpu"]);
  for (const name of ["ddp", "ddp_spawn", "dp"]) assert.ok(strategyRegistry.has(name), name);
});

it("the index has all names of Lightning Fabric that exist here", () => {
  const names = `Fabric seedEverything isWrapped
    Accelerator CPUAccelerator CUDAAccelerator MPSAccelerator acceleratorRegistry findUsableCudaDevices
    Strategy ParallelStrategy SingleDeviceStrategy DDPStrategy DataParallelStrategy DeepSpeedStrategy strategyRegistry
    ClusterEnvironment CheckpointIO TorchCheckpointIO
    Precision MixedPrecision HalfPrecision DoublePrecision TransformerEnginePrecision BitsandbytesPrecision
    LightningEnvironment TorchElasticEnvironment SLURMEnvironment LSFEnvironment MPIEnvironment KubeflowEnvironment
    Collective TorchCollective SingleDeviceCollective
    Logger CSVLogger TensorBoardLogger
    AttributeDict moveDataToDevice suggestedMaxNumWorkers isSharedFilesystem measureFlops Throughput ThroughputMonitor
    rankZeroOnly rankZeroInfo rankZeroWarn rankZeroDeprecation disablePossibleUserWarnings
    SpikeDetection TrainingSpikeException FabricModule FabricOptimizer FabricDataLoader unwrapObjects`;
  assert.deepEqual(
    names.split(/\s+/).filter((name) => !(name in fabric)),
    [],
  );
});

// Those of the system and of other programs, which stand on no page of ours.
const others = new Set(["PATH", "CXX", "TERM", "NODE_OPTIONS", "NODE_DEBUG", "VIRTUAL_ENV"]);

it("each environment variable that is read stands on a page of the guide", () => {
  const below = (folder: string): string[] =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((path) => join(root, folder, path));
  const sources = ["packages/fabric/src", "packages/torch/src"].flatMap(below).filter((path) => path.endsWith(".ts"));
  const read = /\benv\.([A-Z][A-Z0-9_]+)\b|(?:optional|required)\w*\("([A-Z][A-Z0-9_]+)"/g;
  const names = new Set(
    sources.flatMap((path) => [...readFileSync(path, "utf8").matchAll(read)].map((match) => match[1] ?? match[2])),
  );
  assert.ok(names.has("LT_CLI_USED") && names.has("LOCAL_RANK") && names.size > 30, [...names].join(" "));
  const libraries = ["PL_DEEPSPEED_CONFIG_PATH", "XLA_USE_BF16", "XLA_USE_F16", "PYTORCH_NVML_BASED_CUDA_CHECK"];
  assert.deepEqual(
    [...libraries, "USE_LIBUV"].filter((name) => names.has(name)),
    [],
    "of libraries that are not used",
  );
  const pages = below("docs").filter((path) => path.endsWith(".md") && !path.includes("spec-tests"));
  const text = [...pages, join(root, "README.md")].map((path) => readFileSync(path, "utf8")).join("\n");
  const missing = [...names].filter((name) => !others.has(name as string) && !new RegExp(`\\b${name}\\b`).test(text));
  assert.deepEqual(missing, []);
});
