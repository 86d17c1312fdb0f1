// Every scheduler against PyTorch's rates, bit for bit (golden/lr-schedulers.json, written by make-golden-schedulers.py).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";
import { optim } from "@fabric-ts/torch";

type Spec = [name: keyof typeof optim.lrScheduler, args: unknown[], options: Record<string, unknown>];
interface Case {
  scheduler: Spec;
  optimizer: "SGD" | "Adam";
  metrics: number[] | null;
  epochs: number[] | null;
  trace: Record<string, unknown>[][];
  state: Record<string, unknown>;
  last_lr: number[];
}
interface Scheduler {
  step(argument?: number): void;
  getLastLr(): number[];
  stateDict(): optim.lrScheduler.SchedulerStateDict;
  loadStateDict(state: optim.lrScheduler.SchedulerStateDict): void;
}

const file = new URL("../../test/golden/lr-schedulers.json", import.meta.url);
const golden = JSON.parse(readFileSync(file, "utf8")) as { rates: number[]; cases: Case[] };

const functions: Record<string, (x: number) => number> = {
  inverse: (x) => 1 / (1 + x),
  line: (x) => 0.5 + 0.1 * x,
};

function makeOptimizer(name: Case["optimizer"]): optim.Optimizer {
  const groups = golden.rates.map((lr) => ({ params: [torch.zeros([1], { requiresGrad: true })], lr }));
  return name === "SGD" ? new optim.SGD(groups, { momentum: 0.9 }) : new optim.Adam(groups);
}

function resolve(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(resolve);
  return typeof value === "string" && value in functions ? functions[value] : value;
}

function camel(name: string): string {
  return name.replace(/^T/, "t").replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

function makeScheduler([name, args, options]: Spec, optimizer: optim.Optimizer): Scheduler {
  const make = optim.lrScheduler[name] as unknown as new (...args: unknown[]) => Scheduler;
  const isNested = name === "SequentialLR" || name === "ChainedScheduler";
  if (isNested) {
    const inner = (args[0] as Spec[]).map((spec) => makeScheduler(spec, optimizer));
    return name === "ChainedScheduler" ? new make(inner) : new make(optimizer, inner, ...args.slice(1));
  }
  const named = Object.fromEntries(Object.entries(options).map(([key, value]) => [camel(key), resolve(value)]));
  return Object.keys(named).length > 0
    ? new make(optimizer, ...args.map(resolve), named)
    : new make(optimizer, ...args.map(resolve));
}

function groupsOf(optimizer: optim.Optimizer): Record<string, unknown>[] {
  return optimizer.paramGroups.map((group) => {
    const kept = ["lr", "momentum", "betas"].filter((name) => name in group);
    return Object.fromEntries(kept.map((name) => [name, group[name]]));
  });
}

/** As it stands in the JSON file. */
function plain(value: unknown): unknown {
  if (value === Number.POSITIVE_INFINITY) return "inf";
  if (value === Number.NEGATIVE_INFINITY) return "-inf";
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), plain(item)]));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

function advance(c: Case, scheduler: Scheduler, optimizer: optim.Optimizer, i: number): void {
  optimizer.step();
  scheduler.step(c.metrics?.[i] ?? c.epochs?.[i]);
}

for (const c of golden.cases) {
  const [name, args, options] = c.scheduler;
  const title = `${name} ${JSON.stringify([...args, options])} on ${c.optimizer}${c.epochs ? " by epochs" : ""}`;
  const steps = c.trace.length - 1;

  test(`${title} has PyTorch's rates and state`, () => {
    const optimizer = makeOptimizer(c.optimizer);
    const scheduler = makeScheduler(c.scheduler, optimizer);
    const trace = [groupsOf(optimizer)];
    for (let i = 0; i < steps; i++) {
      advance(c, scheduler, optimizer, i);
      trace.push(groupsOf(optimizer));
    }
    assert.deepEqual(trace, c.trace);
    assert.deepEqual(scheduler.getLastLr(), c.last_lr);
    const state = plain(scheduler.stateDict()) as Record<string, unknown>;
    // How the function is kept differs between PyTorch's versions; this is the newer one's.
    if (name === "OneCycleLR") delete state._anneal_func_type;
    assert.deepEqual(state, { ...c.state });
  });

  test(`${title} goes on from its state`, () => {
    const half = Math.floor(steps / 2);
    const firstOptimizer = makeOptimizer(c.optimizer);
    const first = makeScheduler(c.scheduler, firstOptimizer);
    for (let i = 0; i < half; i++) advance(c, first, firstOptimizer, i);
    const saved = torch.serialization.deserialize(
      torch.serialization.serialize({ scheduler: first.stateDict(), optimizer: firstOptimizer.stateDict() }),
    ) as { scheduler: optim.lrScheduler.SchedulerStateDict; optimizer: optim.OptimizerStateDict };
    const optimizer = makeOptimizer(c.optimizer);
    const scheduler = makeScheduler(c.scheduler, optimizer);
    optimizer.loadStateDict(saved.optimizer);
    scheduler.loadStateDict(saved.scheduler);
    const trace = [groupsOf(optimizer)];
    for (let i = half; i < steps; i++) {
      advance(c, scheduler, optimizer, i);
      trace.push(groupsOf(optimizer));
    }
    // A betas tuple that was loaded is a Tuple.
    assert.deepEqual(JSON.parse(JSON.stringify(trace)), c.trace.slice(half));
  });
}
