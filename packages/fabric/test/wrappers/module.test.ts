// Every statement of the documentation's page on wrapped models, with its number, and what the page takes for granted.
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { inspect } from "node:util";
import { Fabric, FabricModule, isWrapped, Precision } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data, nn, optim, type Tensor } from "@fabric-ts/torch";
import { MyModel } from "../support/models.js";
import { runRanks } from "../support/run-ranks.js";

const cpu = (options = {}): Fabric => new Fabric({ accelerator: "cpu", devices: 1, ...options });

describe("a model wrapped on one device", () => {
  it("is an instance of FabricModule by name and class (S1)", () => {
    const model = cpu().setup(new nn.Linear(10, 2));
    assert.equal(model.constructor.name, "FabricModule");
    assert.ok(model instanceof FabricModule);
    assert.ok((model as unknown) instanceof nn.Module);
    assert.equal((model as unknown) instanceof nn.Linear, false);
  });

  it("knows the device it is on (S2)", () => {
    const fabric = cpu();
    assert.equal(fabric.setup(new nn.Linear(10, 2)).device, fabric.device);
  });

  it("gives access to the model's attributes and methods (S3)", () => {
    const raw = new nn.Linear(10, 2);
    const model = cpu().setup(raw);
    assert.ok(model.weight === raw.weight);
    assert.ok(model.bias === raw.bias);
    assert.equal(model.inFeatures, 10);
    const own = cpu().setup(new MyModel());
    assert.equal(own.describe(), "version 3");
    assert.ok(own.layer === own.module.layer);
    assert.equal(new Set([own.describe, own.describe]).size, 1);
    const { describe: detached } = own;
    assert.equal(detached(), "version 3");
  });

  it("is told from an unwrapped one by isWrapped (S4)", () => {
    const fabric = cpu();
    const raw = new nn.Linear(10, 2);
    const rawOptimizer = new optim.SGD(raw.parameters(), { lr: 0.1 });
    const rawLoader = new data.DataLoader([1, 2, 3]);
    const [model, optimizer] = fabric.setup(raw, rawOptimizer);
    const loader = fabric.setupDataLoaders(rawLoader);
    assert.deepEqual([raw, rawOptimizer, rawLoader, null, undefined, 3].map(isWrapped), [
      false,
      false,
      false,
      false,
      false,
      false,
    ]);
    assert.deepEqual([model, optimizer, loader].map(isWrapped), [true, true, true]);
  });

  it("has the original model as its module (S5)", () => {
    const raw = new nn.Linear(10, 2);
    assert.ok(cpu().setup(raw).module === raw);
  });

  it("runs methods that call the model without marking (S14)", () => {
    const model = cpu().setup(new MyModel());
    assert.deepEqual(model.generate().shape, [2]);
    model.markForwardMethod(model.generate);
    model.markForwardMethod("generate");
    assert.deepEqual(model.generate().shape, [2]);
  });

  it("shows the model bfloat16 and the caller float32 under bf16-true (S15)", () => {
    const seen: string[] = [];
    class Spy extends nn.Module<[Tensor, { mask: Tensor }], { y: Tensor; mask: Tensor }> {
      layer = new nn.Linear(4, 2);
      forward(x: Tensor, { mask }: { mask: Tensor }) {
        seen.push(x.dtype, mask.dtype);
        return { y: this.layer(x), mask };
      }
    }
    const model = cpu({ precision: "bf16-true" }).setup(new Spy());
    const { y, mask } = model(torch.ones([3, 4]), { mask: torch.ones([3], { dtype: "int64" }) });
    assert.deepEqual(seen, ["bfloat16", "int64"]);
    assert.equal(y.dtype, "float32");
    assert.equal(mask.dtype, "int64");
    assert.equal(model.dtype, "bfloat16");
    assert.equal(model.layer.weight.dtype, "bfloat16");
  });

  it("takes steps and marked methods through the precision; other methods as they are", () => {
    class Steps extends nn.Module<[Tensor], Tensor> {
      layer = new nn.Linear(2, 1);
      seen: unknown[] = [];
      forward(x: Tensor): Tensor {
        return this.layer(x);
      }
      trainingStep(x: Tensor): Tensor {
        this.seen.push(x.dtype, torch.isAutocastEnabled("cpu"));
        return this(x).sum();
      }
      score(x: Tensor): string {
        this.seen.push(x.dtype, torch.isAutocastEnabled("cpu"));
        return "good";
      }
    }
    const x = torch.ones([3, 2]);
    for (const [precision, dtype, isAutocast] of [
      ["32-true", "float32", false],
      ["64-true", "float64", false],
      ["bf16-true", "bfloat16", false],
      ["bf16-mixed", "bfloat16", true],
    ] as const) {
      const fabric = cpu({ precision });
      const model = fabric.setup(new Steps());
      const loss = model.trainingStep(x);
      assert.equal(loss.dtype, "float32");
      if (isAutocast) assert.throws(() => loss.backward(), /call `fabric.backward\(loss\)`/);
      fabric.backward(loss);
      assert.ok(model.layer.weight.grad, precision);
      assert.equal(model.score(x), "good");
      model.markForwardMethod("score");
      assert.equal(model.score(x), "good");
      assert.deepEqual(model.seen, [dtype, isAutocast, "float32", false, dtype, isAutocast], precision);
    }
  });

  it("computes the same when called and through forward", () => {
    const raw = new MyModel();
    const model = cpu().setup(raw);
    const x = torch.randn([5, 10]);
    assert.deepEqual(model(x).tolist(), raw(x).tolist());
    assert.deepEqual(model.forward(x).tolist(), raw(x).tolist());
  });

  it("runs hooks that are registered on the wrapper when it is called", () => {
    const model = cpu().setup(new nn.Linear(3, 3));
    let calls = 0;
    using _ = model.registerForwardHook(() => {
      calls++;
    });
    model(torch.ones([3]));
    model.forward(torch.ones([3]));
    assert.equal(calls, 1);
  });

  it("gives hooks the wrapper as their module", () => {
    const model = cpu().setup(new nn.Linear(3, 3));
    const seen: unknown[] = [];
    using _a = model.registerForwardPreHook((module) => void seen.push(module));
    using _b = model.registerForwardHook((module) => void seen.push(module));
    using _c = model.registerFullBackwardPreHook((module) => void seen.push(module));
    using _d = model.registerFullBackwardHook((module) => void seen.push(module));
    model(torch.ones([2, 3], { requiresGrad: true }))
      .sum()
      .backward();
    assert.equal(seen.length, 4);
    assert.ok(seen.every((module) => module === model));
    assert.throws(() => model.registerForwardHook(undefined as never), /Expected `hook` to be a function/);
  });

  it("registers parameters, buffers and children on the model, and finds the model's", () => {
    const raw = new nn.Sequential(new nn.Linear(3, 2));
    const model = cpu().setup(raw);
    const mask = model.registerBuffer("mask", torch.ones([2]));
    model.registerParameter("scale", new nn.Parameter(torch.ones([2])));
    model.addModule("last", new nn.Linear(2, 2));
    model.registerModule("other", new nn.Linear(2, 2, { bias: false }));
    const names = ["scale", "mask", "0.weight", "0.bias", "last.weight", "last.bias", "other.weight"];
    assert.deepEqual(Object.keys(model.stateDict()), names);
    assert.deepEqual(Object.keys(raw.stateDict()), names);
    assert.equal(model.getBuffer("mask"), mask);
    assert.equal(model.getParameter("0.weight"), raw.getParameter("0.weight"));
    assert.equal(model.getSubmodule("0"), raw.at(0));
    assert.equal(model.getSubmodule(""), model);
    for (const [name, module] of model.namedModules()) assert.equal(model.getSubmodule(name), module);
    for (const [name, parameter] of model.namedParameters()) assert.equal(model.getParameter(name), parameter);
    for (const [name, buffer] of model.namedBuffers()) assert.equal(model.getBuffer(name), buffer);
    assert.throws(() => model.getSubmodule("1"), /has no module "1"/);
  });

  it("gives the model's state dict, without prefixes, and loads it", () => {
    const raw = new nn.Linear(3, 2);
    const model = cpu().setup(raw);
    assert.deepEqual(Object.keys(model.stateDict()), ["weight", "bias"]);
    const other = cpu().setup(new nn.Linear(3, 2));
    assert.deepEqual(other.loadStateDict(model.stateDict()), { missingKeys: [], unexpectedKeys: [] });
    assert.deepEqual(other.weight.tolist(), raw.weight.tolist());
    assert.deepEqual(other.loadStateDict({}, { strict: false }).missingKeys, ["weight", "bias"]);
  });

  it("gives its hooks around state dicts to the model", () => {
    const raw = new nn.Linear(1, 1);
    const model = cpu().setup(raw);
    const seen: string[] = [];
    const handles = [
      model.registerStateDictPreHook((module) => void seen.push(`save ${module === raw}`)),
      model.registerStateDictPostHook((_, state) => void seen.push(Object.keys(state).join())),
      model.registerLoadStateDictPreHook((module, state) => void seen.push(`load ${module === raw} ${state.size}`)),
      model.registerLoadStateDictPostHook((_, { missingKeys }) => void seen.push(`loaded ${missingKeys.length}`)),
    ];
    model.loadStateDict(model.stateDict());
    assert.deepEqual(seen.splice(0), ["save true", "weight,bias", "load true 2", "loaded 0"]);
    for (const handle of handles) handle.remove();
    model.loadStateDict(raw.stateDict());
    assert.deepEqual(seen, []);
  });

  it("lists each parameter once", () => {
    const model = cpu().setup(new nn.Linear(3, 2));
    assert.equal(model.parameters().length, 2);
    assert.deepEqual(
      model.namedParameters().map(([name]) => name),
      ["_forwardModule.weight", "_forwardModule.bias"],
    );
  });

  it("is the first of its own modules, and returns itself from chainable methods", () => {
    const model = cpu().setup(new nn.Linear(3, 2));
    assert.ok(model.modules()[0] === model);
    assert.ok(model.train() === model);
    assert.ok(model.eval() === model);
    assert.ok(model.to("float64") === model);
  });

  it("switches the model between training and evaluation", () => {
    const raw = new nn.Sequential(new nn.Linear(3, 2), new nn.Dropout(0.5));
    const model = cpu().setup(raw);
    model.eval();
    assert.deepEqual(
      [model.training, raw.training, raw.children().map((child) => child.training)],
      [false, false, [false, false]],
    );
    model.train();
    assert.deepEqual([model.training, raw.training], [true, true]);
  });

  it("takes over the mode of a model that is set up in evaluation mode", () => {
    assert.equal(cpu().setup(new nn.Linear(2, 2).eval()).training, false);
  });

  it("prints the tree of the model", () => {
    const text = inspect(cpu().setup(new nn.Linear(3, 2)));
    assert.equal(text, "FabricModule(\n  (module): Linear(in_features=3, out_features=2, bias=True)\n)");
    assert.equal(String(cpu().setup(new nn.Linear(3, 2))), text);
  });

  it("does not forward what promises, JSON and the language ask for", async () => {
    class Odd extends nn.Module<[], number> {
      // biome-ignore lint/suspicious/noThenProperty: this is what is tested
      then = (resolve: (value: string) => void): void => resolve("then");
      toJSON = (): string => "json";
      [Symbol.toStringTag] = "tag";
      forward(): number {
        return 1;
      }
    }
    const model = cpu().setup(new Odd());
    assert.equal((model as unknown as { then: unknown }).then, undefined);
    assert.equal((model as unknown as { toJSON: unknown }).toJSON, undefined);
    assert.equal((model as unknown as Record<symbol, unknown>)[Symbol.toStringTag], undefined);
    assert.ok(((await model) as unknown) === model);
  });

  it("answers `in` for the model's members and its own", () => {
    const model = cpu().setup(new MyModel());
    assert.ok("layer" in model && "generate" in model && "markForwardMethod" in model);
    assert.equal("nothing" in model, false);
    assert.equal((model as unknown as { nothing: unknown }).nothing, undefined);
  });

  it("can be a key of a Map", () => {
    const model = cpu().setup(new nn.Linear(2, 2));
    assert.equal(new Map([[model, 1]]).get(model), 1);
  });

  it("writes attributes to the model", () => {
    const raw = new MyModel();
    const model = cpu().setup(raw) as unknown as MyModel & { extra: number; head: nn.Linear };
    model.version = 4;
    model.extra = 5;
    model.head = new nn.Linear(2, 2);
    assert.equal(raw.version, 4);
    assert.equal((raw as unknown as { extra: number }).extra, 5);
    assert.equal(Object.hasOwn(model, "extra"), false);
    assert.ok(raw.modules().includes(model.head));
    assert.ok(model.modules().includes(model.head));
  });

  it("replaces forward when it is assigned", () => {
    const model = cpu().setup(new nn.Linear(2, 2));
    const replaced = (): Tensor => torch.zeros([1]);
    model.forward = replaced;
    assert.ok(model.forward === replaced);
    assert.deepEqual(model(torch.ones([2])).tolist(), [0]);
  });

  it("refuses to have its device, dtype and module assigned", () => {
    const model = cpu().setup(new nn.Linear(2, 2)) as unknown as Record<string, unknown>;
    assert.throws(() => (model.dtype = "float64"), /Cannot set the dtype explicitly.*to\(/s);
    assert.throws(() => (model.device = "cpu"), /Cannot set the device explicitly/);
    assert.throws(() => (model.module = null), /Cannot set `module`/);
  });

  it("remembers the dtype it was converted to", () => {
    const model = cpu().setup(new nn.Linear(2, 2));
    assert.equal(model.dtype, "float32");
    model.double();
    assert.equal(model.dtype, "float64");
    assert.equal(model.to({ dtype: "bfloat16" }).dtype, "bfloat16");
  });

  it("keeps a model without elements apart from its forward module", () => {
    const raw = new nn.Sequential();
    assert.ok(cpu().setup(raw).module === raw);
  });

  it("is refused by a second setup", () => {
    const fabric = cpu();
    const model = fabric.setup(new nn.Linear(2, 2));
    assert.throws(() => fabric.setup(model), /A model should be passed only once to the `setup` method/);
    assert.throws(() => fabric.setupModule(model), /A model should be passed only once to the `setupModule` method/);
  });

  it("does not run private methods of the model with the wrapper as `this`", () => {
    class Private extends nn.Module<[Tensor], Tensor> {
      #factor = 2;
      forward(x: Tensor): Tensor {
        return x.mul(this.#factor);
      }
      get factor(): number {
        return this.#factor;
      }
      set factor(value: number) {
        this.#factor = value;
      }
      twice(): number {
        return this.#factor * 2;
      }
    }
    const model = cpu().setup(new Private());
    assert.equal(model.factor, 2);
    model.factor = 3;
    assert.equal(model.twice(), 6);
    assert.deepEqual(model(torch.ones([1])).tolist(), [3]);
  });
});

describe("markForwardMethod on one device", () => {
  const model = cpu().setup(new MyModel());
  const refused = (method: unknown): Error => {
    try {
      model.markForwardMethod(method as never);
    } catch (error) {
      return error as Error;
    }
    throw new Error("nothing was thrown");
  };

  it("takes the model's own function", () => {
    model.markForwardMethod(model.module.generate);
    model.markForwardMethod(model.arrow);
  });
  it("refuses what is neither a method nor a string", () => {
    assert.ok(refused(3) instanceof TypeError);
    assert.match(refused(3).message, /Expected a method or a string, but got: 3/);
    assert.match(refused(new nn.Linear(2, 2)).message, /but got: a Linear/);
  });
  it("refuses a plain function with the name of a method", () => {
    function generate(): void {}
    assert.match(refused(generate).message, /Expected a method or a string/);
  });
  it("refuses the method of another model", () => {
    const other = cpu().setup(new MyModel());
    assert.match(refused(other.generate).message, /Expected a method or a string/);
  });
  it("refuses forward, missing names and attributes", () => {
    assert.match(refused("forward").message, /You cannot mark the forward method itself/);
    assert.match(refused(model.forward).message, /You cannot mark the forward method itself/);
    assert.match(refused("nothing").message, /`MyModel.nothing` does not exist or is not a method/);
    assert.match(refused("version").message, /`MyModel.version` does not exist or is not a method/);
    assert.match(refused("parameters").message, /a method of every module/);
    assert.match(refused("layer").message, /`MyModel.layer` does not exist or is not a method/);
  });
});

describe("a backward pass that does not go through Fabric", () => {
  const x = torch.ones([2, 3]);
  const model = (options: object) => cpu(options).setup(new nn.Linear(3, 1));

  it("is refused where the precision has work to do in it", () => {
    const fabric = cpu({ precision: "bf16-mixed" });
    const wrapped = fabric.setup(new nn.Linear(3, 1));
    assert.throws(() => wrapped(x).mul(2).sum().backward(), /requires you to call `fabric.backward\(loss\)`/);
    assert.throws(() => wrapped(x).sum().backward(), { name: "UsageError" });
    fabric.backward(wrapped(x).sum());
    assert.equal(wrapped.weight.grad?.dtype, "float32");
    assert.equal(torch.autograd.BackwardGuard.isAllowed, false);
  });

  it("is allowed everywhere else", () => {
    for (const precision of ["32-true", "64-true", "bf16-true"]) model({ precision })(x).sum().backward();
  });

  it("is refused for outputs in a dictionary, and for a custom precision that overrides a hook", () => {
    class Custom extends Precision {
      override preBackward(): void {}
    }
    class Pair extends nn.Module<[Tensor], { a: Tensor; rest: Tensor[] }> {
      layer = new nn.Linear(3, 1);
      forward(input: Tensor) {
        return { a: this.layer(input), rest: [this.layer(input), input] };
      }
    }
    const { a, rest } = cpu({ plugins: new Custom() }).setup(new Pair())(x);
    assert.throws(() => a.sum().backward(), /fabric.backward/);
    assert.throws(() => (rest[0] as Tensor).sum().backward(), /fabric.backward/);
    assert.equal(torch.autograd.BackwardGuard.hasHooks(rest[1] as Tensor), false);
  });
});

interface Report {
  className: string;
  isModel: boolean;
  device: string;
  sameModule: boolean;
  sameWeight: boolean;
  sameMethod: boolean;
  cleanKeys: string[];
  called: number[];
  forward: number[];
  expected: number[];
  describe: string;
  usesWeights: number[];
  submodule: number[];
  errors: Record<string, string | null>;
  afterErrors: number[];
  rawAfterErrors: number[];
  marks: Record<string, string | null>;
  generated: number[];
  shape: number[];
  arrowMarked: number[];
  callsLayerMarked: number[];
  describeMarked: string;
  forwardIsBack: boolean;
  afterMarks: number[];
  failed: string | null;
  forwardAfterFailure: boolean;
  asyncMarked: string | null;
  gradient: number[][];
  worldSize: number;
}

describe("a model wrapped in two processes", () => {
  let ranks: Report[];
  before(async () => {
    ranks = await runRanks<Report>("forward-method");
    assert.equal(ranks.length, 2);
  });
  const onBoth = (check: (report: Report) => void): void => ranks.forEach(check);

  it("is a FabricModule around the same model, on both ranks", () => {
    onBoth((r) => {
      assert.equal(r.className, "FabricModule");
      assert.deepEqual(
        [r.isModel, r.sameModule, r.sameWeight, r.sameMethod, r.device],
        [false, true, true, true, "cpu"],
      );
      assert.equal(r.worldSize, 2);
      assert.deepEqual(r.cleanKeys, ["layer.weight", "layer.bias"]);
    });
  });
  it("can be called on both ranks (S6)", () => onBoth((r) => assert.deepEqual(r.called, r.expected)));
  it("can be called through forward (S7)", () => onBoth((r) => assert.deepEqual(r.forward, r.expected)));
  it("refuses a method that calls the model, and says what to do (S8)", () => {
    onBoth((r) => {
      assert.match(
        r.errors.generate ?? "",
        /^UsageError: You are calling the method `MyModel.generate\(\)` from outside the model/,
      );
      assert.match(r.errors.generate ?? "", /markForwardMethod\('generate'\)/);
      assert.match(r.errors.held ?? "", /MyModel.generate\(\)/);
    });
  });
  for (const name of ["callsLayer", "callsForward", "callsGenerate", "swallows", "later", "stream", "arrow"]) {
    it(`refuses ${name}, too`, () =>
      onBoth((r) => assert.match(r.errors[name] ?? "", new RegExp(`MyModel.${name}\\(\\)`))));
  }
  it("lets methods run that run no module", () => {
    onBoth((r) => {
      assert.deepEqual([r.errors.waits, r.errors.count, r.errors.throughModule], [null, null, null]);
      assert.equal(r.describe, "version 3");
      assert.deepEqual(r.usesWeights, r.expected);
      assert.deepEqual(r.submodule, r.expected);
    });
  });
  it("passes on a method's own error", () => onBoth((r) => assert.equal(r.errors.fails, "RangeError: own error")));
  it("accepts a method to be marked, as read from the wrapper (S9)", () => {
    onBoth((r) => assert.deepEqual([r.marks.form1, r.marks.again, r.marks.raw], [null, null, null]));
  });
  it("accepts a method to be marked by its name, also a second time (S10)", () => {
    onBoth((r) => assert.deepEqual([r.marks.form2, r.marks.arrow], [null, null]));
  });
  it("refuses to mark what is not a method", () => {
    onBoth((r) => {
      assert.match(r.marks.forward ?? "", /cannot mark the forward method itself/);
      for (const name of ["missing", "attribute", "submodule"])
        assert.match(r.marks[name] ?? "", /does not exist or is not a method/);
      for (const name of ["otherFunction", "number"])
        assert.match(r.marks[name] ?? "", /^TypeError: Expected a method or a string/);
    });
  });
  it("runs a marked method, with the values of the original forward (S11)", () => {
    onBoth((r) => {
      assert.deepEqual(r.shape, [2]);
      assert.deepEqual([r.generated, r.arrowMarked, r.callsLayerMarked], [r.expected, r.expected, r.expected]);
    });
  });
  it("runs a marked method that returns no tensor", () => {
    onBoth((r) => assert.deepEqual([r.marks.describe, r.describeMarked], [null, "version 3"]));
  });
  it("works normally afterwards, and averages the gradients of a marked method (S12)", () => {
    onBoth((r) => {
      assert.deepEqual(r.afterMarks, r.expected);
      assert.equal(r.forwardIsBack, false);
      // Rank 0 has four rows of ones, rank 1 of twos: 4 and 8, on average 6.
      assert.deepEqual(r.gradient, [new Array(10).fill(6), new Array(10).fill(6)]);
    });
  });
  it("is usable after the error (S13)", () => {
    onBoth((r) => assert.deepEqual([r.afterErrors, r.rawAfterErrors], [r.expected, r.expected]));
  });
  it("has its forward back after a marked method failed", () => {
    onBoth((r) => {
      assert.equal(r.failed, "RangeError: own error");
      assert.equal(r.forwardAfterFailure, false);
    });
  });
  it("refuses a marked method that is async", () => onBoth((r) => assert.match(r.asyncMarked ?? "", /is async/)));
});
