// DataParallel with CPUs in the place of GPUs: how a call is cut, computed with copies, and put together.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as torch from "@fabric-ts/torch";
import { type Device, nn, type Tensor } from "@fabric-ts/torch";

const two: Device[] = ["cpu", "cpu"];

/** Notes what it sees in each call. */
class Spy extends nn.Module<[Tensor, { scale?: Tensor; names?: string[] }?], { y: Tensor; more: [Tensor, string] }> {
  layer = new nn.Linear(3, 2);
  calls = this.registerBuffer("calls", torch.zeros([1]));
  seen: { rows: number | undefined; weight: Device; names: string[] | undefined }[] = [];
  forward(x: Tensor, more: { scale?: Tensor; names?: string[] } = {}): { y: Tensor; more: [Tensor, string] } {
    this.seen.push({ rows: x.shape[0], weight: this.layer.weight.device, names: more.names });
    this.calls.add_(1);
    return { y: this.layer(x), more: [x.sum(1), "text"] };
  }
}

describe("DataParallel", () => {
  it("gives the outputs and gradients of the module alone", () => {
    torch.manualSeed(0);
    const module = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 2));
    const model = new nn.parallel.DataParallel(module, { deviceIds: two });
    const x = torch.randn([5, 3]);
    assert.ok(model(x).equal(module(x)));
    module(x).square().sum().backward();
    const expected = module.parameters().map((parameter) => parameter.grad as Tensor);
    module.zeroGrad();
    model(x).square().sum().backward();
    module.parameters().forEach((parameter, i) => {
      assert.ok(torch.allclose(parameter.grad as Tensor, expected[i] as Tensor));
    });
    assert.deepEqual(
      model.namedParameters().map(([name]) => name),
      ["module.0.weight", "module.0.bias", "module.2.weight", "module.2.bias"],
    );
  });

  it("cuts tensors along the batch, gives everything else to all devices, and puts collections together", () => {
    const module = new Spy();
    const model = new nn.parallel.DataParallel(module, { deviceIds: ["cpu", "cpu", "cpu"] });
    const { y, more } = model(torch.ones([4, 3]), { scale: torch.ones([4]), names: ["a"] });
    assert.deepEqual(
      module.seen.map(({ rows, names }) => [rows, names]),
      [
        [2, ["a"]],
        [2, ["a"]],
      ],
      "PyTorch's chunks: two of two rows rather than two, one, one",
    );
    assert.deepEqual([y.shape, more[0].tolist(), more[1]], [[4, 2], [3, 3, 3, 3], "text"]);
  });

  it("calls no device for which there are no samples", () => {
    const module = new Spy();
    const model = new nn.parallel.DataParallel(module, { deviceIds: two });
    assert.deepEqual(model(torch.ones([1, 3])).y.shape, [1, 2]);
    assert.equal(module.seen.length, 1);
  });

  it("computes with copies on each device, and has its own tensors back afterwards, also after an error", () => {
    const module = new Spy();
    const { weight, bias } = module.layer;
    const buffer = module.calls;
    const model = new nn.parallel.DataParallel(module, { deviceIds: ["cpu", "meta"], outputDevice: "meta" });
    const { y } = model(torch.ones([4, 3]));
    assert.deepEqual(
      module.seen.map((call) => call.weight),
      ["cpu", "meta"],
    );
    assert.equal(y.device, "meta");
    const isBack = (): boolean =>
      module.layer.weight === weight && module.layer.bias === bias && module.calls === buffer;
    assert.ok(isBack());
    assert.equal(buffer.item(), 1, "what the first device did to the buffer stays");
    module.layer.registerForwardHook(() => {
      if (module.layer.weight.device === "meta") throw new RangeError("on the second device");
    });
    assert.throws(() => model(torch.ones([4, 3])), /on the second device/);
    assert.ok(isBack());
  });

  it("adds up the gradients of all devices, also in lists of parameters", () => {
    class Doubled extends nn.Module<[Tensor], Tensor> {
      layer = new nn.Linear(2, 1, { bias: false, dtype: "float64" });
      list = new nn.ParameterList([new nn.Parameter(torch.ones([1], { dtype: "float64" }))]);
      forward(x: Tensor): Tensor {
        return this.layer(x).mul(this.list.at(0) as Tensor);
      }
    }
    const module = new Doubled();
    const model = new nn.parallel.DataParallel(module, { deviceIds: two });
    model(torch.ones([4, 2], { dtype: "float64" }))
      .sum()
      .backward();
    assert.deepEqual(module.layer.weight.grad?.tolist(), [[4, 4]]);
    assert.deepEqual(module.list.parameters()[0]?.grad?.numel(), 1);
  });

  it("returns scalars of several devices as a vector, and says so", async () => {
    class Loss extends nn.Module<[Tensor], Tensor> {
      forward(x: Tensor): Tensor {
        return x.mean();
      }
    }
    const seen: string[] = [];
    const note = (warning: Error): void => void seen.push(warning.message);
    process.on("warning", note);
    const model = new nn.parallel.DataParallel(new Loss(), { deviceIds: two });
    assert.deepEqual(model(torch.tensor([1, 1, 3, 3], { dtype: "float32" })).tolist(), [1, 3]);
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", note);
    assert.match(seen.join(), /scalars of several devices/);
  });

  it("calls the module once where there is nothing to cut, and no devices where there are none", () => {
    class Counts extends nn.Module<[], number> {
      calls = 0;
      forward(): number {
        return ++this.calls;
      }
    }
    assert.equal(new nn.parallel.DataParallel(new Counts(), { deviceIds: two })(), 1);
    const spy = new Spy();
    new nn.parallel.DataParallel(spy, { deviceIds: [] })(torch.ones([4, 3]));
    assert.equal(spy.seen[0]?.rows, 4);
  });

  it("says what is on the wrong device, and what cannot be put together", () => {
    const meta = torch.withDevice("meta", () => new nn.Linear(3, 2));
    assert.throws(() => new nn.parallel.DataParallel(meta, { deviceIds: two })(torch.ones([2, 3])), {
      name: "ConfigurationError",
      message:
        /has to be on cpu, the first of the devices, but its `weight` is on meta\.\nMove it .*model\.to\("cpu"\)/,
    });
    let n = 0;
    class Odd extends nn.Module<[Tensor], number> {
      forward(): number {
        return n++;
      }
    }
    assert.throws(() => new nn.parallel.DataParallel(new Odd(), { deviceIds: two })(torch.ones([2])), {
      name: "UsageError",
      message: /cannot put together what the devices returned: 0 and 1/,
    });
    assert.throws(() => new nn.parallel.DataParallel(new Odd(), { devices: two } as never), /`devices`.*deviceIds/s);
    for (const deviceIds of [["gpu0"], [null], [1.5]]) {
      assert.throws(
        () => new nn.parallel.DataParallel(new Odd(), { deviceIds } as never),
        /`deviceIds` to be devices or/,
      );
    }
    assert.throws(() => new nn.parallel.DataParallel(3 as never), /`module` to be a Module, but got 3/);
  });
});
