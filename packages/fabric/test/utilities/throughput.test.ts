// Speeds over a window of updates.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Fabric, Logger, Throughput, ThroughputMonitor } from "@fabric-ts/fabric";

describe("Throughput", () => {
  it("has the latest totals, and speeds once the window is full", () => {
    const throughput = new Throughput({ windowSize: 2 });
    throughput.update({ time: 2, batches: 1, samples: 2, lengths: 4 });
    assert.deepEqual(throughput.compute(), { time: 2, batches: 1, samples: 2, lengths: 4 });
    throughput.update({ time: 2.5, batches: 2, samples: 4, lengths: 8 });
    assert.deepEqual(throughput.compute(), {
      time: 2.5,
      batches: 2,
      samples: 4,
      lengths: 8,
      "device/batches_per_sec": 2,
      "device/samples_per_sec": 4,
      "device/items_per_sec": 8,
    });
  });
  it("has a window of 100 updates and one device unless told otherwise", () => {
    const { windowSize, worldSize, separator, availableFlops } = new Throughput();
    assert.deepEqual([windowSize, worldSize, separator, availableFlops], [100, 1, "/", null]);
    const throughput = new Throughput();
    for (let step = 1; step <= 100; step++) {
      assert.equal("device/batches_per_sec" in (step > 1 ? throughput.compute() : {}), false);
      throughput.update({ time: step, batches: step, samples: step });
    }
    assert.equal(throughput.compute()["device/batches_per_sec"], 1);
  });
  it("divides the operations since the first of the window by what the device can do", () => {
    const throughput = new Throughput({ windowSize: 2, availableFlops: 50, separator: "_" });
    throughput.update({ time: 1, batches: 1, samples: 2, flops: 10 });
    throughput.update({ time: 2, batches: 2, samples: 4, flops: 10 });
    assert.deepEqual(throughput.compute(), {
      time: 2,
      batches: 2,
      samples: 4,
      device_batches_per_sec: 1,
      device_samples_per_sec: 2,
      device_flops_per_sec: 10,
      device_mfu: 0.2,
    });
  });
  it("has numbers for all devices together when there are several", () => {
    const throughput = new Throughput({ windowSize: 3, availableFlops: 50, worldSize: 2 });
    for (const time of [1, 2, 3]) {
      throughput.update({ time, batches: time, samples: 3 * time, lengths: 6 * time, flops: 10 });
    }
    assert.deepEqual(throughput.compute(), {
      time: 3,
      batches: 3,
      samples: 9,
      lengths: 18,
      "device/batches_per_sec": 1,
      batches_per_sec: 2,
      "device/samples_per_sec": 3,
      samples_per_sec: 6,
      "device/items_per_sec": 6,
      items_per_sec: 12,
      "device/flops_per_sec": 10,
      flops_per_sec: 20,
      "device/mfu": 0.2,
    });
  });
  it("moves its window on, and forgets everything on reset", () => {
    const throughput = new Throughput({ windowSize: 2 });
    for (const [time, batches] of [
      [1, 1],
      [2, 2],
      [3, 12],
    ] as const)
      throughput.update({ time, batches, samples: batches });
    assert.equal(throughput.compute()["device/batches_per_sec"], 10);
    throughput.reset();
    throughput.update({ time: 1, batches: 1, samples: 1 });
    assert.deepEqual(throughput.compute(), { time: 1, batches: 1, samples: 1 });
  });
  it("refuses totals that do not grow or cannot be", () => {
    const throughput = new Throughput();
    assert.throws(() => throughput.compute(), /nothing yet to compute the throughput from/);
    throughput.update({ time: 2, batches: 1, samples: 1 });
    const again = { time: 2, batches: 2, samples: 2 };
    assert.throws(() => throughput.update(again), /Expected the value to increase, last: 2, current: 2/);
    assert.throws(() => throughput.update({ time: 3, batches: 3, samples: 2 }), {
      name: "ConfigurationError",
      message: /samples \(2\) to be greater or equal than batches \(3\)/,
    });
    const long = { time: 4, batches: 4, samples: 4, lengths: 3 };
    assert.throws(() => throughput.update(long), /lengths \(3\) to be greater or equal than samples \(4\)/);
    const late = { time: 5, batches: 5, samples: 5, lengths: 5 };
    assert.throws(() => throughput.update(late), { name: "UsageError", message: /same number of samples/ });
    assert.throws(() => throughput.update({ time: "6" } as never), /Expected `time` to be a number, but got "6"/);
    assert.throws(() => throughput.update({ time: 7, batch: 1 } as never), /no option `batch`/);
  });
  it("wants every total to grow, and keeps what it took before the one that did not", () => {
    const first = { time: 1, batches: 1, samples: 2, lengths: 3 };
    const second = { time: 2, batches: 2, samples: 3, lengths: 4 };
    for (const name of ["time", "batches", "samples", "lengths"] as const) {
      const throughput = new Throughput();
      throughput.update(first);
      const last = first[name];
      assert.throws(() => throughput.update({ ...second, [name]: last }), {
        name: "ConfigurationError",
        message: new RegExp(`^Expected the value to increase, last: ${last}, current: ${last} \\(of \`${name}\`\\)`),
      });
    }
    const throughput = new Throughput();
    throughput.update(first);
    assert.throws(() => throughput.update({ ...second, batches: 4 }), /greater or equal than batches/);
    assert.throws(() => throughput.update(second), /last: 2, current: 2 \(of `time`\)/);
    assert.deepEqual(throughput.compute(), { ...first, time: 2 });
  });
  it("refuses windows of one value and worlds of nobody", () => {
    assert.throws(
      () => new Throughput({ windowSize: 1 }),
      /`windowSize` of Throughput is 1\.\nGive a whole number of at least 2/,
    );
    assert.throws(() => new Throughput({ worldSize: 0 }), /`worldSize` of Throughput is 0\./);
  });
});

describe("ThroughputMonitor", () => {
  class Recorder extends Logger {
    readonly logged: [number | undefined, string[]][] = [];
    get name(): string {
      return "recorder";
    }
    get version(): string {
      return "0";
    }
    logMetrics(metrics: Record<string, number>, step?: number): void {
      this.logged.push([step, Object.keys(metrics)]);
    }
    logHyperparams(): void {}
  }

  it("logs through Fabric, as the step after the last or the one given", () => {
    const recorder = new Recorder();
    const fabric = new Fabric({ accelerator: "cpu", loggers: recorder });
    const monitor = new ThroughputMonitor(fabric, { windowSize: 2, separator: "." });
    assert.equal(monitor.availableFlops, null);
    monitor.update({ time: 1, batches: 1, samples: 1 });
    assert.deepEqual(monitor.computeAndLog(), { time: 1, batches: 1, samples: 1 });
    monitor.update({ time: 2, batches: 2, samples: 2 });
    monitor.computeAndLog(7);
    monitor.computeAndLog();
    const short = ["time", "batches", "samples"];
    const long = [...short, "device.batches_per_sec", "device.samples_per_sec"];
    assert.deepEqual(recorder.logged, [
      [0, short],
      [7, long],
      [8, long],
    ]);
  });
  it("wants Fabric to be launched, and a precision plugin", () => {
    assert.throws(
      () => new ThroughputMonitor(new Fabric({ accelerator: "cpu", devices: 2 })),
      /must call `.launch\(\)` first/,
    );
    const fabric = new Fabric({ accelerator: "cpu" });
    Object.defineProperty(fabric.strategy, "precision", { value: "32" });
    assert.throws(() => new ThroughputMonitor(fabric), /Expected a precision plugin, got "32"/);
  });
});
