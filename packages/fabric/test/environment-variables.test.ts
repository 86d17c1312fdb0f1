// Environment variables that stand for options, and those that say which rank this is, each on its own.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DDPStrategy, LightningEnvironment, SingleDeviceStrategy } from "@fabric-ts/fabric";
import { Connector, type ConnectorOptions } from "../dist/connector.js";
import { rankFromEnvironment } from "../dist/utilities/rank-zero.js";

describe("a variable for each option", () => {
  const connect = (options: ConnectorOptions, env: Record<string, string>): Connector =>
    new Connector(options, { env, isInteractive: false, detectEnvironment: () => new LightningEnvironment() });

  it("LT_ACCELERATOR", () => {
    assert.equal(connect({ accelerator: "cuda" }, { LT_ACCELERATOR: "cpu" }).accelerator.name, "cpu");
  });
  it("LT_STRATEGY", () => {
    assert.ok(connect({ accelerator: "cpu" }, {}).strategy instanceof SingleDeviceStrategy);
    assert.ok(connect({ accelerator: "cpu" }, { LT_STRATEGY: "ddp" }).strategy instanceof DDPStrategy);
  });
  it("LT_DEVICES", () => {
    assert.equal(connect({ accelerator: "cpu" }, { LT_DEVICES: "3" }).strategy.worldSize, 3);
  });
  it("LT_NUM_NODES", () => {
    const options = { accelerator: "cpu", devices: 2, numNodes: 5 };
    assert.equal(connect(options, { LT_NUM_NODES: "3" }).strategy.worldSize, 6);
  });
  it("LT_PRECISION", () => {
    assert.equal(connect({ accelerator: "cpu" }, { LT_PRECISION: "64" }).strategy.precision.precision, "64-true");
  });
});

it("the rank for messages is that of the first variable that has a number", () => {
  const env: Record<string, string> = { RANK: "1", LOCAL_RANK: "2", SLURM_PROCID: "3", JSM_NAMESPACE_RANK: "4" };
  const found: (number | undefined)[] = [];
  for (const name of [...Object.keys(env), "none"]) {
    found.push(rankFromEnvironment(env));
    delete env[name];
  }
  assert.deepEqual(found, [1, 2, 3, 4, undefined]);
  assert.equal(rankFromEnvironment({ RANK: "first", LOCAL_RANK: "2" }), 2);
});
