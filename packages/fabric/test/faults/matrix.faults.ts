// The fault matrix: a rank fails, in each way, in each phase, under each launcher. `npm run test:faults` runs a part in which every pair of
// launcher, victim, fault and phase occurs, `npm run test:faults -- --all` runs all of it.
import assert from "node:assert/strict";
import { after, before, describe } from "node:test";
import { boundMs, cell, exitCode, firstStep, Reference, seconds, TrainingJob } from "./cell.js";
import { allCells, type Cell, chosenCells, type Phase, titleOf, worlds } from "./cells.js";

/** How long ranks wait for one that loops. It has to be longer than ranks take to start on a busy machine. */
const timeoutMs = 6000;
/** Half of the jobs end so soon after the fault. */
const usualMs = 2000;

const places: Record<Phase, RegExp> = {
  start: /before it called `fabric\.launch\(\)`/,
  rendezvous: /while it waited for the other ranks/,
  setup: /in `fabric\.setup`/,
  load: /in `fabric\.load\(".*last\.ckpt"\)`/,
  data: /while it waited for data/,
  forward: /in the forward pass/,
  backward: /in the backward pass/,
  blocked: /in the backward pass/,
  between: /after 1 optimizer step/,
  barrier: /in `fabric\.barrier\("trained"\)`, after 1 optimizer step/,
  save: /in `fabric\.save\(".*last\.ckpt"\)`, after 1 optimizer step/,
  write: /in `fabric\.save\(".*last\.ckpt"\)`, after 1 optimizer step/,
  end: /after 2 optimizer steps/,
};

const cells = process.env.FABRIC_FAULTS_ALL === "1" ? allCells() : chosenCells();

describe("a rank fails", { concurrency: 2 }, () => {
  const references = new Map<number, Reference>();
  const times: number[] = [];
  before(async () => {
    for (const world of worlds) references.set(world, await Reference.make(world, firstStep + 2));
  });
  after(() => {
    for (const reference of references.values()) reference.remove();
    const median = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
    assert.ok(median <= usualMs, `half of the jobs ended only ${median} ms after the fault`);
  });

  for (const one of cells) {
    cell(titleOf(one), async () => {
      const tookMs = await runCell(one, references.get(one.world) as Reference);
      times.push(tookMs);
      return one.fault === "loop" ? `ended ${seconds(tookMs)} after the timeout` : `ended ${seconds(tookMs)} later`;
    });
  }
});

async function runCell({ launcher, world, victim, fault, phase }: Cell, reference: Reference): Promise<number> {
  const isLoop = fault === "loop";
  const args = ["--steps", String(firstStep + 2), "--phase", phase, "--fault", fault, "--victim", String(victim)];
  if (isLoop) args.push("--timeout", String(timeoutMs));
  const training = new TrainingJob(launcher, world, { args, checkpoint: reference.at(firstStep) });
  const { code, tookMs } = await training.end(isLoop ? timeoutMs + boundMs : boundMs);
  assert.equal(code, exitCode(launcher, fault), training.output);
  checkReport(training, { victim, fault, phase });
  await training.assertIntact(reference, { isKilled: fault.startsWith("SIG") });
  return isLoop ? tookMs - timeoutMs : tookMs;
}

function checkReport(training: TrainingJob, { victim, fault, phase }: Pick<Cell, "victim" | "fault" | "phase">): void {
  const { report, output } = training;
  const how = {
    SIGKILL: "was killed by SIGKILL",
    SIGTERM: "was killed by SIGTERM",
    exit: "ended with exit code 3",
    throw: "failed with an uncaught error",
    loop: "kept the others waiting,",
  }[fault];
  const [headline = ""] = report.split("\n");
  assert.match(headline, new RegExp(`^Rank ${victim} \\(pid ${training.fault.pid}\\) ${how} `), output);
  assert.match(headline, places[phase], output);
  if (fault === "throw") {
    assert.match(report, /\nError: boom on purpose/, output);
    // With `ddp_spawn` the error is the cause of the one that the launching process has.
    if (training.launcher !== "spawn") assert.match(report, /\n {4}at .*training\.[jt]s/, output);
  }
  if (fault === "loop") assert.match(report, /\nRank \d \(pid \d+\) gave up .*:\nDistributedError: /, output);
  else if (training.launcher !== "spawn") assert.doesNotMatch(report, /DistributedError/, output);
}
