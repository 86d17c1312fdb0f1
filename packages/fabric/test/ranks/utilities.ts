// Two processes: barriers with a deadline, turns with errors, uneven shapes, shared folders, spikes, throughput, generators.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Fabric,
  gatherAllTensors,
  isSharedFilesystem,
  RngState,
  SpikeDetection,
  ThroughputMonitor,
  TrainingSpikeException,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { distributed, type Tensor } from "@fabric-ts/torch";
import { messageOf, report } from "../support/run-ranks.js";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
const rank = fabric.globalRank;
const list = (tensors: Tensor[]): unknown[] => tensors.map((tensor) => tensor.tolist());
const folder = (await fabric.broadcast(rank === 0 ? mkdtempSync(join(tmpdir(), "fabric-test-")) : null)) as string;

/** Rank 1 comes to the barrier when rank 0 has given up. */
async function barriers(): Promise<unknown> {
  const token = torch.zeros([1]);
  if (rank === 1) await distributed.recv(token, 0);
  const late = await messageOf(() => fabric.barrier("download", { timeoutMs: rank === 0 ? 200 : 20_000 }));
  if (rank === 0) await distributed.send(token, 1);
  const again = await messageOf(() => fabric.barrier("download", { timeoutMs: 20_000 }));
  const unnamed = await messageOf(() => fabric.barrier({ timeoutMs: 20_000 }));
  await fabric.barrier("plain");
  const wrong = await messageOf(() => fabric.barrier(5 as never));
  const option = await messageOf(() => fabric.barrier("a", { timeout: 5 } as never));
  return { late, again, unnamed, wrong, option };
}

/** Bodies that throw, on one rank and on both, and what comes after. */
async function turns(): Promise<unknown> {
  const order: string[] = [];
  const second = await messageOf(() =>
    fabric.rankZeroFirst(() => {
      order.push("body");
      if (rank === 1) throw new Error("second fails");
    }),
  );
  const both = await messageOf(() => fabric.rankZeroFirst(() => Promise.reject(new Error(`rank ${rank} fails`))));
  const value = await fabric.rankZeroFirst({ local: true }, () => rank + 5);
  return { order, second, both, value };
}

async function uneven(): Promise<unknown> {
  const parts = await fabric.allGather(
    { x: torch.arange(rank + 1), n: rank, nested: [torch.ones(rank === 0 ? [] : [1, 2]), "text"] },
    { uneven: true },
  );
  const none = await gatherAllTensors(torch.zeros([2 * rank, 3]));
  const x = torch.ones([rank + 1], { requiresGrad: true });
  const gathered = await fabric.allGather(x, { uneven: true, syncGrads: true });
  (gathered[1] as Tensor)
    .sum()
    .mul(rank + 1)
    .backward();
  const dtypes = await messageOf(() =>
    fabric.allGather(torch.ones([1], { dtype: rank === 0 ? "float32" : "int64" }), { uneven: true }),
  );
  return {
    x: list(parts.x),
    n: list(parts.n),
    nested: list(parts.nested[0] as Tensor[]),
    text: parts.nested[1],
    none: none.map(({ shape }) => shape),
    gradient: x.grad?.tolist(),
    graph: (await fabric.allGather(x, { uneven: true })).map(({ requiresGrad }) => requiresGrad),
    dtypes,
  };
}

/** Every reduction by its name, and collectives within one's own group. */
async function reductions(): Promise<unknown> {
  const found: Record<string, unknown> = {};
  const ops = ["mean", "avg", "sum", "max", "min", "product", "band", "bor", "bxor"] as const;
  for (const reduceOp of ops) {
    const own = torch.tensor([rank + 1, 6 - rank], { dtype: "int64" });
    found[reduceOp] = (await fabric.allReduce(own, { reduceOp })).tolist();
  }
  const groups = [await distributed.newGroup([0]), await distributed.newGroup([1])];
  const group = groups[rank] as distributed.ProcessGroup;
  const alone = await fabric.allGather(torch.tensor([rank]), { group });
  const sum = await fabric.allReduce(torch.tensor([rank + 1]), { group, reduceOp: "sum" });
  const parts = await fabric.allGather(torch.tensor([rank]), { group, uneven: true });
  const mean = await fabric.allReduce(torch.tensor([rank + 1], { dtype: "float32" }), { group });
  return { found, alone: alone.tolist(), sum: sum.tolist(), mean: mean.tolist(), parts: list(parts) };
}

async function folders(): Promise<unknown> {
  const { strategy } = fabric;
  const [file, link] = [join(folder, "file"), join(folder, "link")];
  if (rank === 0) {
    writeFileSync(file, "");
    mkdirSync(join(folder, "linked"));
    symlinkSync("linked", link);
  }
  await fabric.barrier();
  return {
    folder: await isSharedFilesystem(strategy, folder),
    file: await isSharedFilesystem(strategy, file),
    link: await isSharedFilesystem(strategy, rank === 0 ? link : join(folder, "linked")),
    here: await isSharedFilesystem(strategy),
    different: await isSharedFilesystem(strategy, rank === 0 ? folder : tmpdir()),
    unwritable: await isSharedFilesystem(strategy, "/proc", { timeoutMs: 100 }),
    remote: await isSharedFilesystem(strategy, `s3://bucket/${rank}`),
    missing: await messageOf(() => isSharedFilesystem(strategy, join(folder, "no"))),
    leftOver: existsSync(join(folder, ".lightning_shared_fs_check")),
  };
}

/** The number of the batch at which training stops when the loss of one rank is replaced. */
async function spikeAt(value: number, badRank: number, finiteOnly: boolean): Promise<number | null> {
  const callback = new SpikeDetection({ excludeBatchesPath: join(folder, "skip.json"), finiteOnly });
  for (let batchIdx = 0; batchIdx < 9; batchIdx++) {
    const loss = torch.tensor(batchIdx === 4 && rank === badRank ? value : 1 / (batchIdx + 1));
    try {
      await callback.onTrainBatchEnd({ fabric, loss, batchIdx });
    } catch (error) {
      if (error instanceof TrainingSpikeException) return error.batchIdx;
      throw error;
    }
  }
  return null;
}

async function spikes(): Promise<unknown> {
  const found: Record<string, (number | null)[]> = {};
  for (const value of [3, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]) {
    found[String(value)] = [];
    for (const finiteOnly of [true, false]) {
      for (const badRank of [0, 1]) found[String(value)]?.push(await spikeAt(value, badRank, finiteOnly));
    }
  }
  await fabric.barrier();
  return { found, listed: JSON.parse(readFileSync(join(folder, "skip.json"), "utf8")) };
}

function throughput(): unknown {
  const monitor = new ThroughputMonitor(fabric, { windowSize: 2 });
  monitor.update({ time: 1, batches: 1, samples: 1 });
  monitor.update({ time: 2, batches: 2, samples: 3 });
  const metrics = monitor.computeAndLog();
  const { step } = monitor;
  monitor.reset();
  return { metrics, compute: rank === 0 ? {} : monitor.compute(), step };
}

/** Every rank goes on with its own random numbers. */
async function generators(): Promise<unknown> {
  torch.manualSeed(rank);
  const path = join(folder, "rng.ckpt");
  await fabric.save(path, { rng: new RngState() });
  const expected = torch.rand([2]).tolist();
  await fabric.load(path, { rng: new RngState() });
  return { expected, found: torch.rand([2]).tolist() };
}

const reports = {
  barriers: await barriers(),
  turns: await turns(),
  uneven: await uneven(),
  reductions: await reductions(),
  folders: await folders(),
  spikes: await spikes(),
  throughput: throughput(),
  generators: await generators(),
};
await fabric.barrier();
if (rank === 0) rmSync(folder, { recursive: true });
report(rank, reports);
