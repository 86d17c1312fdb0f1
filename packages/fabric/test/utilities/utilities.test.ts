// Small utilities: moving data, dictionaries, warnings, threads, modules that know their device.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import os from "node:os";
import { describe, it } from "node:test";
import {
  AttributeDict,
  applyToCollection,
  catchWarnings,
  DeviceDtypeModule,
  Fabric,
  moveDataToDevice,
  optimizerToDevice,
  rankZeroWarn,
  registerDataclass,
  suggestedMaxNumWorkers,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, optim, Tensor } from "@fabric-ts/torch";
import { suggestedMaxNumThreads } from "../../dist/utilities/cpu.js";
import { cleanEnvironment } from "../support/run-ranks.js";

it("moveDataToDevice keeps an object whose `to` returns nothing", () => {
  const item = { to(): void {} };
  const moved = moveDataToDevice([item, 1], "cpu");
  assert.ok(moved[0] === item);
});

it("moveDataToDevice does not wait for copies to accelerators, but for those to CPUs and to MPS", () => {
  const moved: unknown[][] = [];
  const item = { to: (...args: unknown[]) => moved.push(args) };
  for (const device of ["cpu", "mps:0", "cuda:1"]) moveDataToDevice({ deep: [item] }, device as torch.Device);
  assert.deepEqual(moved, [["cpu"], ["mps:0"], ["cuda:1", { nonBlocking: true }]]);
});

describe("AttributeDict", () => {
  it("prints its entries sorted, one a line", () => {
    assert.equal(String(new AttributeDict({ lr: 0.1, batchSize: 4 })), '"batchSize": 4\n"lr":        0.1');
    assert.equal(String(new AttributeDict()), "");
    assert.equal(String(new AttributeDict({ sizes: [1, 2], net: null })), '"net":   null\n"sizes": [ 1, 2 ]');
  });
  it("is read, set and deleted by its properties, and stays one in collections", () => {
    const dict = new AttributeDict<{ lr?: number }>({ lr: 0.1 });
    dict.step = 3;
    delete dict.lr;
    assert.deepEqual([Object.keys(dict), dict.lr, dict.step], [["step"], undefined, 3]);
    assert.equal(dict.nothing, undefined);
    const changed = applyToCollection(dict, Number, (n) => n + 1);
    assert.ok(changed instanceof AttributeDict && changed.step === 4);
  });
});

it("threads and workers share the cores that this process may use", () => {
  const cores = os.availableParallelism();
  assert.deepEqual([1, 2, 10 * cores].map(suggestedMaxNumThreads), [cores, Math.max(1, Math.floor(cores / 2)), 1]);
  assert.throws(() => suggestedMaxNumThreads(0), {
    name: "ConfigurationError",
    message: "`numProcesses` should be >= 1, got 0.",
  });
});

it("cores that the system does not let this process use do not count", {
  skip: spawnSync("taskset", ["-c", "0", "true"]).status !== 0 && "needs taskset",
}, () => {
  const program = `import { suggestedMaxNumWorkers } from "@fabric-ts/fabric"; console.log(suggestedMaxNumWorkers(1));`;
  const args = ["-c", "0", process.execPath, "--input-type=module", "-e", program];
  const { stdout, stderr } = spawnSync("taskset", args, { encoding: "utf8", env: cleanEnvironment() });
  assert.equal(stdout, "1\n", stderr);
});

it("suggestedMaxNumWorkers leaves a core to each process", () => {
  const cores = os.availableParallelism();
  assert.equal(suggestedMaxNumWorkers(1), Math.max(1, cores - 1));
  assert.equal(suggestedMaxNumWorkers(10 * cores), 1);
  assert.throws(() => suggestedMaxNumWorkers(0), /should be >= 1, got 0/);
});

describe("optimizerToDevice", () => {
  it("moves what an optimizer remembers in place, but for the steps, which stay on the CPU", () => {
    const model = new nn.Linear(2, 2);
    const optimizer = new optim.Adam(model.parameters());
    model(torch.ones([1, 2]))
      .sum()
      .backward();
    optimizer.step();
    const state = optimizer.state.get(model.weight) as Record<string, unknown>;
    state.own = { history: [torch.ones([1])], text: "kept" };
    optimizerToDevice(optimizer, "meta");
    const own = state.own as { history: Tensor[]; text: string };
    const devices = [state.exp_avg, state.exp_avg_sq, own.history[0]].map((tensor) => (tensor as Tensor).device);
    assert.deepEqual(devices, ["meta", "meta", "meta"]);
    assert.ok(!(state.step instanceof Tensor) || state.step.device === "cpu");
    assert.equal(own.text, "kept");
    assert.ok(optimizer.state.get(model.weight) === state);
  });
  it("leaves frozen instances of registered classes as they are", () => {
    class Frozen {
      constructor(readonly x: Tensor) {
        Object.freeze(this);
      }
    }
    registerDataclass(Frozen);
    const model = new nn.Linear(1, 1);
    const optimizer = new optim.SGD(model.parameters(), { lr: 1 });
    const frozen = new Frozen(torch.ones([1]));
    optimizer.state.set(model.weight, { frozen, list: [torch.ones([1])] });
    optimizerToDevice(optimizer, "meta");
    const state = optimizer.state.get(model.weight) as { frozen: Frozen; list: Tensor[] };
    assert.ok(state.frozen === frozen);
    assert.deepEqual([frozen.x.device, state.list[0]?.device], ["cpu", "meta"]);
  });
  it("wants an optimizer", () => {
    assert.throws(
      () => optimizerToDevice({} as never, "cpu"),
      /Expected `optimizer` to be an Optimizer, but got an object/,
    );
  });
});

it("warnings can be caught", async () => {
  assert.deepEqual(await catchWarnings(() => rankZeroWarn("text")), [{ message: "text", kind: "UserWarning" }]);
});

it("a DeviceDtypeModule knows what it and its container were moved to", () => {
  class Metric extends DeviceDtypeModule<[torch.Tensor], torch.Tensor> {
    forward(x: torch.Tensor): torch.Tensor {
      return x;
    }
  }
  class Outer extends Metric {
    inner = new Metric();
    plain = new nn.Linear(2, 2);
  }
  const outer = new Outer();
  outer.to("float64");
  assert.deepEqual([outer.dtype, outer.inner.dtype, outer.device], ["float64", "float64", "cpu"]);
  const model = new Fabric({ accelerator: "cpu" }).setup(new Outer());
  model.half();
  assert.equal(model.inner.dtype, "float16");
});
