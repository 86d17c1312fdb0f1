// States of schedulers travel both ways between this package and PyTorch in Python, and the schedule goes on.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { optim } from "@fabric-ts/torch";
import { noTorch, runPython } from "../serialization/support/python.js";
import { TemporaryFolder } from "../serialization/support/temporary.js";

const skip = noTorch;
if (skip) console.log(`Left out: ${skip}.`);

const python = `
import sys, json, torch, warnings
from torch.optim import lr_scheduler as s
warnings.simplefilter("ignore")
def optimizer(): return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1, momentum=0.9)
MAKE = {
  "StepLR": lambda o: s.StepLR(o, 2, gamma=0.5),
  "MultiStepLR": lambda o: s.MultiStepLR(o, [2, 6, 6], gamma=0.3),
  "LambdaLR": lambda o: s.LambdaLR(o, lambda e: 1 / (1 + e)),
  "CosineAnnealingLR": lambda o: s.CosineAnnealingLR(o, 7),
  "CosineAnnealingWarmRestarts": lambda o: s.CosineAnnealingWarmRestarts(o, 3, 2),
  "SequentialLR": lambda o: s.SequentialLR(o, [s.LinearLR(o, 0.5), s.MultiStepLR(o, [2])], [5]),
  "ChainedScheduler": lambda o: s.ChainedScheduler([s.LinearLR(o, 0.5), s.ExponentialLR(o, 0.9)]),
  "ReduceLROnPlateau": lambda o: s.ReduceLROnPlateau(o, patience=1),
}
def steps(name, o, scheduler, n):
  rates = []
  for i in range(n):
    o.step()
    scheduler.step(1.0) if name == "ReduceLROnPlateau" else scheduler.step()
    rates.append(o.param_groups[0]["lr"])
  return rates
`;

interface Scheduler {
  step(metric?: number): void;
  stateDict(): optim.SchedulerStateDict;
  loadStateDict(state: optim.SchedulerStateDict): void;
}

const make: Record<string, (o: optim.Optimizer) => Scheduler> = {
  StepLR: (o) => new optim.StepLR(o, 2, { gamma: 0.5 }),
  MultiStepLR: (o) => new optim.MultiStepLR(o, [2, 6, 6], { gamma: 0.3 }),
  LambdaLR: (o) => new optim.LambdaLR(o, (epoch) => 1 / (1 + epoch)),
  CosineAnnealingLR: (o) => new optim.CosineAnnealingLR(o, 7),
  CosineAnnealingWarmRestarts: (o) => new optim.CosineAnnealingWarmRestarts(o, 3, { tMult: 2 }),
  SequentialLR: (o) =>
    new optim.SequentialLR(
      o,
      [new optim.LinearLR(o, { startFactor: 0.5 }), new optim.MultiStepLR(o, [2])],
      [5],
    ) as unknown as Scheduler,
  ChainedScheduler: (o) =>
    new optim.ChainedScheduler([
      new optim.LinearLR(o, { startFactor: 0.5 }),
      new optim.ExponentialLR(o, 0.9),
    ]) as unknown as Scheduler,
  ReduceLROnPlateau: (o) => new optim.ReduceLROnPlateau(o, { patience: 1 }) as Scheduler,
};

const sgd = (): optim.SGD => new optim.SGD([torch.zeros([1], { requiresGrad: true })], { lr: 1, momentum: 0.9 });

function steps(name: string, optimizer: optim.Optimizer, scheduler: Scheduler, count: number): number[] {
  return Array.from({ length: count }, () => {
    optimizer.step();
    scheduler.step(name === "ReduceLROnPlateau" ? 1 : undefined);
    return (optimizer.paramGroups[0] as optim.ParamGroup).lr;
  });
}

test("a schedule that began in Python goes on here", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  const output = runPython(
    `${python}
saved, rest = {}, {}
for name, make in MAKE.items():
  o = optimizer(); scheduler = make(o)
  steps(name, o, scheduler, 4)
  saved[name] = {"optimizer": o.state_dict(), "scheduler": scheduler.state_dict()}
torch.save(saved, sys.argv[1])
for name, make in MAKE.items():
  o = optimizer(); scheduler = make(o)
  rest[name] = steps(name, o, scheduler, 10)[4:]
print(json.dumps(rest))`,
    path,
  );
  const expected = JSON.parse(output) as Record<string, number[]>;
  const saved = (await torch.load(path)) as Record<string, { optimizer: never; scheduler: never }>;
  for (const [name, making] of Object.entries(make)) {
    const optimizer = sgd();
    const scheduler = making(optimizer);
    optimizer.loadStateDict(saved[name]?.optimizer as never);
    scheduler.loadStateDict(saved[name]?.scheduler as never);
    assert.deepEqual(steps(name, optimizer, scheduler, 6), expected[name], name);
  }
});

test("a schedule that began here goes on in Python", { skip }, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  const saved: Record<string, unknown> = {};
  const expected: Record<string, number[]> = {};
  for (const [name, making] of Object.entries(make)) {
    const optimizer = sgd();
    const scheduler = making(optimizer);
    steps(name, optimizer, scheduler, 4);
    saved[name] = { optimizer: optimizer.stateDict(), scheduler: scheduler.stateDict() };
    const whole = sgd();
    expected[name] = steps(name, whole, making(whole), 10).slice(4);
  }
  await torch.save(saved, path);
  const output = runPython(
    `${python}
rest = {}
saved = torch.load(sys.argv[1])
for name, make in MAKE.items():
  o = optimizer(); scheduler = make(o)
  o.load_state_dict(saved[name]["optimizer"]); scheduler.load_state_dict(saved[name]["scheduler"])
  rest[name] = steps(name, o, scheduler, 6)
  assert not hasattr(scheduler, "milestones") or type(scheduler.milestones).__name__ == "Counter"
print(json.dumps(rest))`,
    path,
  );
  assert.deepEqual(JSON.parse(output), expected);
});
