// Where and how models and tensors are made: `initTensor`, `initModule`, and the deprecated `shardedModel`.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { catchWarnings, Fabric, SingleDeviceStrategy } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn } from "@fabric-ts/torch";

const onMeta = new SingleDeviceStrategy("meta");

describe("initTensor", () => {
  it("puts tensors on the strategy's device, unless they name another", () => {
    using _ = onMeta.tensorInitContext();
    const devices = [torch.ones([1]), torch.tensor([1]), torch.ones([1], { device: "cpu" })].map(
      ({ device }) => device,
    );
    assert.deepEqual(devices, ["meta", "meta", "cpu"]);
  });
  it("leaves its context when the block ends, also by an error", () => {
    const fabric = new Fabric({ accelerator: "cpu", precision: "64-true" });
    {
      using _ = fabric.initTensor();
      assert.equal(torch.ones([1]).dtype, "float64");
    }
    const failing = (): never => fabric.initTensor(() => assert.fail("inside"));
    assert.throws(failing, /inside/);
    assert.equal(torch.ones([1]).dtype, "float32");
  });
});

describe("initModule", () => {
  it("makes parameters and buffers on the strategy's device", () => {
    using _ = onMeta.moduleInitContext();
    const layer = new nn.BatchNorm1d(2);
    assert.deepEqual([layer.weight?.device, layer.runningMean?.device], ["meta", "meta"]);
  });
  it("initializes unless told not to, and what `nn.init` is given comes back untouched", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const make = (): number => new nn.LayerNorm([4]).weight?.sum().item() as number;
    assert.deepEqual([fabric.initModule(make), fabric.initModule({ emptyInit: false }, make)], [4, 4]);
    const untouched = fabric.initModule(() => nn.init.ones_(torch.zeros([1])).item(), { emptyInit: true });
    assert.equal(untouched, 0);
    assert.throws(() => fabric.initModule(make, { empty: true } as never), /initModule has no option `empty`/);
    fabric.initModule({ emptyInit: true }, () => {
      const x = torch.zeros([2]);
      for (const init of [nn.init.ones_, nn.init.uniform_, nn.init.normal_]) assert.ok(init(x) === x);
      assert.deepEqual(x.tolist(), [0, 0]);
      assert.deepEqual(new nn.Linear(2, 3).weight.shape, [3, 2]);
    });
    assert.deepEqual(nn.init.ones_(torch.zeros([1])).tolist(), [1]);
  });
  it("has to be launched, where there are several processes; single tensors need not", () => {
    const fabric = new Fabric({ accelerator: "cpu", devices: 2, precision: "bf16-true" });
    assert.throws(() => fabric.initModule(() => new nn.Linear(1, 1)), /must call `.launch\(\)` first/);
    assert.throws(() => fabric.initModule({ emptyInit: true }), /must call `.launch\(\)` first/);
    assert.equal(fabric.initTensor(() => torch.ones([1])).dtype, "bfloat16");
  });
  it("makes parameters of each precision, on the strategy's device unless they name another", () => {
    const dtypes = [
      ["32-true", "float32"],
      ["16-true", "float16"],
      ["bf16-true", "bfloat16"],
      ["64-true", "float64"],
    ] as const;
    for (const [precision, dtype] of dtypes) {
      const fabric = new Fabric({ strategy: new SingleDeviceStrategy("meta"), accelerator: "cpu", precision });
      for (const emptyInit of [true, false]) {
        const { weight, bias } = fabric.initModule({ emptyInit }, () => new nn.Linear(2, 2));
        assert.deepEqual([weight.dtype, weight.device, bias?.dtype, bias?.device], [dtype, "meta", dtype, "meta"]);
      }
      assert.equal(fabric.initModule(() => torch.ones([1], { dtype: "int64", device: "cpu" })).device, "cpu");
    }
  });
  it("is a block, too, and leaves its context when that ends", () => {
    const fabric = new Fabric({ accelerator: "cpu", precision: "64-true" });
    {
      using _ = fabric.initModule({ emptyInit: true });
      const x = torch.zeros([1]);
      assert.ok(nn.init.ones_(x) === x);
      assert.deepEqual([x.item(), x.dtype], [0, "float64"]);
    }
    const after = nn.init.ones_(torch.zeros([1]));
    assert.deepEqual([after.item(), after.dtype], [1, "float32"]);
  });
  it("has no other options", () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    assert.throws(() => fabric.initModule({ empty: true } as never, () => 1), /initModule has no option `empty`/);
  });
});

describe("shardedModel", () => {
  it("does nothing but warn, and names what to use", async () => {
    const fabric = new Fabric({ accelerator: "cpu" });
    const caught = await catchWarnings(() => {
      assert.equal(
        fabric.shardedModel(() => 3),
        3,
      );
      using _ = fabric.shardedModel();
    });
    assert.equal(caught.length, 2);
    assert.equal(caught[0]?.kind, "DeprecationWarning");
    assert.match(caught[0]?.message ?? "", /`fabric.shardedModel\(\)` is deprecated .*`fabric.initModule\(\)`/);
  });
  it("has to be launched, and enters the strategy's context", async () => {
    await catchWarnings(() => {
      assert.throws(
        () => new Fabric({ accelerator: "cpu", devices: 2 }).shardedModel(),
        /must call `.launch\(\)` first/,
      );
      let open = 0;
      class Sharded extends SingleDeviceStrategy {
        override moduleShardedContext(): Disposable {
          open++;
          return { [Symbol.dispose]: () => open-- };
        }
      }
      const fabric = new Fabric({ strategy: new Sharded() });
      assert.equal(
        fabric.shardedModel(() => open),
        1,
      );
      assert.equal(open, 0);
    });
  });
});
