// A training run that saves after each step, under any launcher. One of its ranks fails at the place and in the way that it is told.
//
//   training.js --launcher script --world 2 --folder DIR --steps 3 [--phase forward --fault SIGKILL --victim 1] [--timeout 5000] [--keep]
//
// It goes on from DIR/last.ckpt if that exists; the fault comes in the first step from there. `--keep` leaves every step's checkpoint in
// DIR/step-N.ckpt, `--caught` goes on after a save that failed. Variables: SLOW_MS for how long a slow rank is slow, IGNORE for a signal that
// the ranks ignore, FAIL_ALWAYS=1 for a fault that comes again after a restart.
import { appendFileSync, chmodSync, copyFileSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { DDPStrategy, Fabric } from "@fabric-ts/fabric";
import { data, Generator, nn, optim, randn, type Tensor, zeros } from "@fabric-ts/torch";

const { values } = parseArgs({
  options: {
    launcher: { type: "string", default: "script" },
    world: { type: "string", default: "2" },
    folder: { type: "string" },
    steps: { type: "string", default: "3" },
    phase: { type: "string" },
    fault: { type: "string" },
    victim: { type: "string" },
    timeout: { type: "string", default: "60000" },
    keep: { type: "boolean", default: false },
    caught: { type: "boolean", default: false },
  },
});
const { launcher, phase, fault, victim } = values;
const folder = values.folder as string;
const checkpoint = join(folder, "last.ckpt");
const steps = Number(values.steps);
const { IGNORE, FAIL_ALWAYS, SLOW_MS, TORCHELASTIC_RESTART_COUNT } = process.env;
const isFirstAttempt = FAIL_ALWAYS === "1" || (TORCHELASTIC_RESTART_COUNT ?? "0") === "0";
const isRank = process.env.LOCAL_RANK !== undefined;
if (isRank && IGNORE) process.on(IGNORE, () => {});
const fails = isRank && isFirstAttempt && phase !== undefined;
const isVictim = fails && process.env.LOCAL_RANK === victim;
/** The step in which the fault comes: the first that this process takes. */
let faultStep = -1;
let step = -1;

const announcement = join(folder, "fault.json");
const flag = new Int32Array(new SharedArrayBuffer(4));
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const block = (milliseconds: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
};

/** Fails, if this rank is to fail here and now. */
function mayFail(place: string): void {
  // `load` asks for states, too, to put them back if it fails.
  if (isVictim && place === phase && step === faultStep && (place !== "save" || step >= 0)) fail();
}

function fail(): void {
  writeFileSync(announcement, JSON.stringify({ at: Date.now(), pid: process.pid }));
  if (fault === "throw") throw new Error("boom on purpose");
  if (fault === "exit") process.exit(3);
  if (fault === "exit-0") process.exit(0);
  if (fault === "loop") for (;;);
  if (fault?.startsWith("SIG")) process.kill(process.pid, fault);
  if (fault === "abort") process.abort();
  if (fault === "memory") zeros([2 ** 44]);
  if (fault === "slow") block(Number(SLOW_MS));
  // Signals come at once, but not always before the next line.
  else block(10_000);
}

/** Another thread fails as soon as it sees `condition`, an expression, or a little later: this one waits or is blocked. */
function failWhen(condition: string, afterMs = 0): void {
  const code = `
    const { workerData } = require("node:worker_threads");
    const { announcement, fault, flag, folder, rendezvous } = workerData;
    const fs = require("node:fs");
    const { join } = require("node:path");
    const written = (name) => name.startsWith(".last.ckpt.tmp-") && fs.statSync(join(folder, name)).size > 0;
    const look = () => (${condition} ? setTimeout(fail, ${afterMs}) : setTimeout(look));
    const fail = () => {
      fs.writeFileSync(announcement, JSON.stringify({ at: Date.now(), pid: process.pid }));
      process.kill(process.pid, fault);
    };
    look();`;
  const rendezvous = process.env.FABRIC_RENDEZVOUS_FILE;
  new Worker(code, { eval: true, workerData: { announcement, fault, flag, folder, rendezvous } });
}

/** The others come later than the fault. */
async function waitForFault(): Promise<void> {
  for (let i = 0; i < 1000 && !existsSync(announcement); i++) await pause(20);
}

/** From now on this rank may not write to the folder; a full disk has been full all the time. */
function loseDisk(): void {
  writeFileSync(announcement, JSON.stringify({ at: Date.now(), pid: process.pid }));
  if (fault !== "permission") return;
  chmodSync(folder, 0o555);
  // The superuser may write everywhere.
  if (process.geteuid?.() === 0) process.seteuid?.(65534);
}
function findDisk(): void {
  if (fault !== "permission") return;
  process.seteuid?.(process.getuid?.() as number);
  chmodSync(folder, 0o755);
}

class Net extends nn.Module<[Tensor], Tensor> {
  first = new nn.Linear(16, 64);
  last = new nn.Linear(64, 1);
  constructor() {
    super();
    if (!isVictim) return;
    // The gradient of the first layer comes last: the others wait for this rank then.
    this.first.weight.registerHook(() => mayFail("backward"));
    this.last.weight.registerHook(() => {
      Atomics.store(flag, 0, 1);
    });
  }
  override to(target: never): this {
    mayFail("setup");
    return super.to(target);
  }
  forward(x: Tensor): Tensor {
    mayFail("forward");
    return this.last(this.first(x).tanh());
  }
}

/** The same batch for the same step and rank. */
const batches = (rank: number): data.Dataset<Tensor> => ({
  length: 1000,
  get(index: number) {
    mayFail("data");
    return randn([8, 16], { generator: new Generator().manualSeed(1000 * index + rank) });
  },
});

/** A part of the checkpoint that fails while it is saved or loaded. */
const witness = {
  stateDict(): object {
    mayFail("save");
    return { saved: true };
  },
  loadStateDict(): void {
    mayFail("load");
  },
};

async function train(fabric: Fabric): Promise<number> {
  fabric.seedEverything(7);
  const net = new Net();
  const [model, optimizer] = fabric.setup(net, new optim.Adam(net.parameters(), { lr: 0.01 }));
  const state = { model, optimizer, witness, step: 0 };
  // What takes its time to write, and more than there is room for.
  const filler = fails && (phase === "write" || phase === "disk") ? zeros([64 << 20], { dtype: "uint8" }) : null;
  if (existsSync(checkpoint)) await fabric.load(checkpoint, state);
  step = state.step;
  faultStep = step;
  const sampler = Array.from({ length: steps - step }, (_, i) => step + i);
  const loader = fabric.setupDataLoaders(
    new data.DataLoader(batches(fabric.globalRank), { batchSize: null, sampler }),
    { useDistributedSampler: false },
  );
  for (const x of loader) {
    optimizer.zeroGrad();
    const loss = model(x).square().mean();
    const isTime = fails && step === faultStep;
    if (isTime && phase === "blocked") {
      if (isVictim) failWhen("Atomics.load(flag, 0) === 1", 100);
      else await waitForFault();
    }
    fabric.backward(loss);
    optimizer.step();
    mayFail("between");
    if (isTime && phase === "barrier") {
      if (isVictim) setTimeout(fail, 100);
      else await waitForFault();
    }
    await fabric.barrier("trained");
    state.step = step + 1;
    const isWriting = isTime && phase === "write";
    if (isWriting && isVictim) failWhen("fs.readdirSync(folder).some(written)");
    if (isTime && phase === "disk") {
      if (isVictim) loseDisk();
      await fabric.save(checkpoint, { ...state, filler }).catch((error: Error & { code?: string }) => {
        if (!values.caught) throw error;
        console.log(`rank ${fabric.globalRank} caught ${error.name} ${error.code} ${error.message}`);
      });
      if (isVictim) findDisk();
      step++;
      continue;
    }
    await fabric.save(checkpoint, isWriting ? { ...state, filler } : state);
    if (fabric.isGlobalZero) {
      appendFileSync(join(folder, "saved.txt"), `${state.step}\n`);
      if (values.keep) copyFileSync(checkpoint, join(folder, `step-${state.step}.ckpt`));
    }
    step++;
  }
  await fabric.barrier("end");
  if (isVictim && phase === "end") {
    await pause(200);
    fail();
  }
  return step;
}

if (isVictim && phase === "start") fail();
if (fails && phase === "rendezvous") {
  if (isVictim) failWhen("fs.existsSync(rendezvous)", 100);
  else await waitForFault();
}
const strategy = new DDPStrategy({
  timeoutMs: Number(values.timeout),
  bucketCapMb: 0.001,
  startMethod: launcher === "spawn" ? "spawn" : "popen",
});
const fabric =
  launcher === "run" ? new Fabric({ strategy }) : new Fabric({ accelerator: "cpu", devices: values.world, strategy });
if (launcher === "spawn") console.log(`result ${await fabric.launch(train)}`);
else {
  await fabric.launch();
  console.log(`result ${await train(fabric)}`);
}
