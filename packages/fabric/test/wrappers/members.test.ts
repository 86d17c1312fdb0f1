// Members of a wrapped model: which are the wrapper's own, what it remembers, and where assignments go.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DeviceDtypeModule, Fabric, type FabricModule } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";
import { Noting, Outer, wrapping } from "../support/wrapping.js";

const cpu = new Fabric({ accelerator: "cpu" });
const x = torch.ones([2]);

describe("a wrapper", () => {
  it("has what it calls and the model as its children", () => {
    const raw = new nn.Linear(2, 2);
    const model = wrapping().setup(raw);
    const [forward, original, ...others] = model.namedChildren();
    assert.deepEqual([forward?.[0], original?.[0], others], ["_forwardModule", "_originalModule", []]);
    assert.ok(forward?.[1] === model._forwardModule && model._forwardModule instanceof Outer);
    assert.ok(original?.[1] === raw && (model as unknown as { _originalModule: unknown })._originalModule === raw);
  });

  it("has the model for its module inside a strategy's wrapper too, even one without elements", () => {
    for (const raw of [new nn.Sequential(), new nn.Linear(2, 2)]) assert.ok(wrapping().setup(raw).module === raw);
  });

  it("keeps its own members where the model has some of the same name", () => {
    class Named extends nn.Linear {
      module = "the model's";
      device = "mine";
      markForwardMethod = (): string => "the model's";
      override parameters(): nn.Parameter[] {
        return [];
      }
    }
    const raw = new Named(2, 2);
    const model = cpu.setup(raw as nn.Linear);
    assert.ok(model.module === raw);
    assert.equal(model.device, "cpu");
    assert.throws(() => model.markForwardMethod("nothing" as never), /does not exist/);
    assert.equal(model.parameters().length, 2);
  });

  it("has a forward of its own, which does what a call does", () => {
    const precision = new Noting();
    const raw = new nn.Linear(2, 2);
    const model = wrapping([precision]).setup(raw);
    assert.notEqual(model.forward, raw.forward);
    assert.deepEqual(model.forward(x).tolist(), raw(x).tolist());
    assert.deepEqual(precision.events, ["input", "enter", "leave", "output"]);
  });

  it("has the parameters of the model, the very same, each once", () => {
    const raw = new nn.Linear(2, 2);
    for (const model of [cpu.setup(raw), wrapping().setup(raw)]) {
      const parameters = model.parameters();
      assert.ok(parameters.length === 2 && parameters[0] === raw.weight && parameters[1] === raw.bias);
    }
  });

  it("puts its names and its prefix before the model's in a state dict, and gives the parameters when asked", () => {
    const raw = new nn.Linear(2, 2);
    const destination = {};
    const state = wrapping().setup(raw).stateDict({ prefix: "net.", keepVars: true, destination });
    assert.ok(state === destination);
    assert.deepEqual(Object.keys(state), ["net.weight", "net.bias"]);
    assert.ok(state["net.weight"] === raw.weight);
  });

  it("refuses a state dict that does not fit, unless it is told not to be strict", () => {
    const model = wrapping().setup(new nn.Linear(2, 2));
    const { weight, bias } = model.stateDict();
    assert.throws(() => model.loadStateDict({ weight }), /bias/);
    assert.deepEqual(model.loadStateDict({ weight, bias, more: bias }, { strict: false }), {
      missingKeys: [],
      unexpectedKeys: ["more"],
    });
  });

  it("is not copied: the error says to copy the model inside", () => {
    const model = cpu.setup(new nn.Linear(2, 2));
    const refused = { name: "NotSupportedError", message: /FabricModule.*\n.*`nn\.utils\.deepCopy\(model\.module\)`/ };
    assert.throws(() => nn.utils.deepCopy(model), refused);
    const copy = nn.utils.deepCopy(model.module);
    assert.ok(copy !== model.module && cpu.setup(copy).weight.equal(model.weight));
  });

  it("names the functions that it makes of the model's methods as the model does", () => {
    class Own extends nn.Linear {
      describe(_what: string, _how: string): string {
        return "own";
      }
      guess(): string {
        return "own";
      }
    }
    for (const model of [cpu.setup(new Own(2, 2)), wrapping().setup(new Own(2, 2))]) {
      model.markForwardMethod("guess");
      assert.deepEqual([model.describe.name, model.describe.length, model.guess.name], ["describe", 2, "guess"]);
      assert.equal(new Set([model.guess, model.guess]).size, 1);
    }
  });
});

describe("device and dtype of a wrapper", () => {
  class Metric extends DeviceDtypeModule<[Tensor], Tensor> {
    forward(input: Tensor): Tensor {
      return input;
    }
  }

  it("are remembered: what happens to the parameters behind its back does not change them", () => {
    const raw = new nn.Linear(2, 2);
    const model = cpu.setup(raw);
    raw.to("meta", "float64");
    assert.deepEqual([model.weight.device, model.weight.dtype], ["meta", "float64"]);
    assert.deepEqual([model.device, model.dtype], ["cpu", "float32"]);
  });

  it("are the defaults of the moment when there are no parameters", () => {
    const made = torch.withDtype("float64", () =>
      torch.withDevice("meta", () => [new Metric(), cpu.setup(new nn.ReLU())]),
    );
    assert.deepEqual(
      made.map(({ device, dtype }) => [device, dtype]),
      [
        ["meta", "float64"],
        ["cpu", "float64"],
      ],
    );
  });

  it("stay what they were when a conversion fails", () => {
    const model = cpu.setup(new nn.Linear(2, 2));
    for (const call of [
      () => model.to("int64"),
      () => model.to("nowhere" as never),
      () => model.to({ dtype: "float65" as never }),
    ]) {
      assert.throws(call);
      assert.deepEqual([model.device, model.dtype, model.weight.dtype], ["cpu", "float32", "float32"]);
    }
  });

  it("are those of the GPU that is named, or of the current one", {
    skip: torch.cuda.deviceCount() === 0 && "needs a GPU",
  }, () => {
    assert.equal(new Metric().cuda(0).device, "cuda:0");
    assert.equal(new Metric().cuda().device, `cuda:${torch.cuda.currentDevice()}`);
    assert.equal(new Metric().to("cuda").device, `cuda:${torch.cuda.currentDevice()}`);
  });
});

describe("assigning", () => {
  it("forward changes the wrapper and the model", () => {
    const raw = new nn.Linear(2, 2);
    const model = wrapping().setup(raw);
    const replaced = (): Tensor => torch.zeros([1]);
    model.forward = replaced;
    assert.ok(model.forward === replaced && raw.forward === replaced);
  });

  it("a module makes it one of the model's, with its parameters", () => {
    const raw = new nn.Sequential(new nn.ReLU());
    const model = wrapping().setup(raw) as FabricModule<nn.Sequential> & { head: nn.Linear };
    model.head = new nn.Linear(2, 2);
    assert.deepEqual(Object.keys(model.stateDict()), ["head.weight", "head.bias"]);
    assert.ok(raw.modules().includes(model.head) && model.modules().includes(model.head));
    assert.ok(!model.namedChildren().some(([name]) => name === "head"));
  });
});
