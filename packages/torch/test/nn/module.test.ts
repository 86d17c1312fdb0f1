// How modules are built, called, walked, converted and saved.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import * as torch from "@fabric-ts/torch";
import { nn, optim, type Tensor } from "@fabric-ts/torch";
import { assertClose, numbers } from "./close.js";

class MyModel extends nn.Module<[Tensor], Tensor> {
  layer = new nn.Linear(10, 2);
  forward(x: Tensor) {
    return this.layer(x);
  }
  generate() {
    return this(torch.randn([10]));
  }
}

class Net extends nn.Module<[Tensor], Tensor> {
  norm = new nn.BatchNorm1d(2);
  scale = new nn.Parameter(torch.ones([2]));
  mask = this.registerBuffer("mask", torch.ones([2]));
  cache = this.registerBuffer("cache", torch.zeros([1]), { persistent: false });
  fc: nn.Linear | null = new nn.Linear(2, 1);
  forward(x: Tensor): Tensor {
    const y = this.norm(x).mul(this.scale).mul(this.mask);
    return this.fc ? this.fc(y) : y;
  }
}

test("a module is called like a function and may call itself", () => {
  const model = new MyModel();
  const x = torch.ones([3, 10]);
  assert.deepEqual(model(x).tolist(), model.forward(x).tolist());
  assert.deepEqual(model.generate().shape, [2]);
  assert.ok(model instanceof MyModel);
  assert.ok(model instanceof nn.Module);
  assert.equal(model instanceof nn.Linear, false);
});

test("fields of any name, private fields and getters work", () => {
  class Odd extends nn.Module<[number], number> {
    override name = "odd";
    override length = 3;
    override prototype = 1;
    #secret = 4;
    get secret() {
      return this.#secret;
    }
    forward(x: number) {
      return x + this.length;
    }
  }
  const odd = new Odd();
  assert.equal(odd(1), 4);
  assert.equal(odd.name, "odd");
  assert.equal(odd.secret, 4);
  assert.deepEqual(Object.keys(odd), ["name", "length", "prototype"]);
});

test("a module without forward says so when called", () => {
  const Broken = class Broken extends (nn.Module as unknown as new () => () => void) {};
  assert.throws(() => new Broken()(), /Broken has no `forward`/);
});

test("members are found in definition order, and in PyTorch's order in the state dict", () => {
  const net = new Net();
  assert.deepEqual(
    net.namedParameters().map(([name]) => name),
    ["scale", "norm.weight", "norm.bias", "fc.weight", "fc.bias"],
  );
  assert.deepEqual(
    net.namedBuffers().map(([name]) => name),
    ["mask", "cache", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"],
  );
  assert.deepEqual(
    net.namedModules().map(([name]) => name),
    ["", "norm", "fc"],
  );
  assert.deepEqual(
    net.namedModules("net").map(([name]) => name),
    ["net", "net.norm", "net.fc"],
  );
  assert.deepEqual(
    net.namedChildren().map(([name]) => name),
    ["norm", "fc"],
  );
  assert.deepEqual(Object.keys(net.stateDict()), [
    "scale",
    "mask",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
    "norm.num_batches_tracked",
    "fc.weight",
    "fc.bias",
  ]);
  assert.deepEqual(net.parameters(false), [net.scale]);
  assert.deepEqual(net.buffers(false), [net.mask, net.cache]);
});

test("assigning, replacing and deleting a member counts at once", () => {
  const net = new Net();
  net.fc = new nn.Linear(2, 5, { bias: false });
  assert.deepEqual(
    net.namedParameters().map(([name]) => name),
    ["scale", "norm.weight", "norm.bias", "fc.weight"],
  );
  net.fc = null;
  assert.deepEqual(
    net.namedChildren().map(([name]) => name),
    ["norm"],
  );
  Reflect.deleteProperty(net, "norm");
  assert.deepEqual(net.parameters(), [net.scale]);
  net.registerParameter("late", new nn.Parameter(torch.ones([1])));
  net.registerModule("extra", new nn.Identity());
  assert.deepEqual(
    net.namedParameters().map(([name]) => name),
    ["scale", "late"],
  );
  assert.deepEqual(
    net.namedChildren().map(([name]) => name),
    ["extra"],
  );
});

test("a parameter or module that occurs twice counts once", () => {
  class Tied extends nn.Module<[Tensor], Tensor> {
    embedding = new nn.Embedding(4, 2);
    head = new nn.Linear(2, 4, { bias: false });
    again = this.head;
    constructor() {
      super();
      this.head.weight = this.embedding.weight;
    }
    forward(x: Tensor) {
      return this.head(this.embedding(x));
    }
  }
  const tied = new Tied();
  assert.deepEqual(
    tied.namedParameters().map(([name]) => name),
    ["embedding.weight"],
  );
  assert.equal(tied.modules().length, 3);
  assert.deepEqual(Object.keys(tied.stateDict()), ["embedding.weight", "head.weight", "again.weight"]);
  tied.double();
  assert.equal(tied.head.weight, tied.embedding.weight);
  assert.equal(tied.head.weight.dtype, "float64");
});

test("modules in a plain array are warned of once", async () => {
  class Hidden extends nn.Module<[Tensor], Tensor> {
    blocks = [new nn.Linear(1, 1)];
    forward(x: Tensor) {
      return x;
    }
  }
  const warning = new Promise<Error>((resolve) => process.once("warning", resolve));
  assert.deepEqual(new Hidden().parameters(), []);
  assert.match((await warning).message, /Hidden\.blocks is a plain array that holds Modules.*nn\.ModuleList/);
});

test("paths lead to submodules, parameters and buffers", () => {
  const net = new nn.Sequential(new Net(), new nn.Identity());
  assert.ok(net.getSubmodule("0.fc") instanceof nn.Linear);
  assert.equal(net.getSubmodule(""), net);
  assert.deepEqual(net.getParameter("0.fc.weight").shape, [1, 2]);
  assert.deepEqual(net.getBuffer("0.norm.running_var").tolist(), [1, 1]);
  assert.throws(
    () => net.getSubmodule("0.fd"),
    /Sequential has no module "0\.fd": Net has no "fd"\.\nIt has: norm, fc\./,
  );
  assert.throws(() => net.getParameter("0.fc.gain"), /Linear has no "gain"\.\nIt has: weight, bias\./);
});

test("hooks run in order, replace what they return, and are removed", () => {
  const model = new nn.Identity();
  const calls: string[] = [];
  const first = model.registerForwardPreHook((module, [x]) => {
    assert.equal(module, model);
    calls.push("pre 1");
    return x.add(1);
  });
  model.registerForwardPreHook(() => void calls.push("pre 2"));
  model.registerForwardPreHook(() => void calls.push("pre 0"), { prepend: true });
  {
    using _ = model.registerForwardHook((_module, [x], output) => {
      calls.push(`post ${x.item()}`);
      return output.mul(10);
    });
    assert.equal(model(torch.tensor(1)).item(), 20);
  }
  assert.deepEqual(calls, ["pre 0", "pre 1", "pre 2", "post 2"]);
  first.remove();
  first.remove();
  assert.equal(model(torch.tensor(1)).item(), 1);
  assert.equal(model.forward(torch.tensor(1)).item(), 1);
  assert.deepEqual(calls.slice(4), ["pre 0", "pre 2"]);
});

test("train and eval reach all modules", () => {
  const net = new Net();
  assert.equal(net.training, true);
  assert.equal(net.eval(), net);
  assert.deepEqual(
    net.modules().map((m) => m.training),
    [false, false, false],
  );
  net.train();
  assert.deepEqual(
    net.modules().map((m) => m.training),
    [true, true, true],
  );
});

test("to converts in place and keeps parameters, gradients and integers what they are", () => {
  const net = new Net();
  const parameters = net.parameters();
  const optimizer = new optim.SGD(parameters, { lr: 0.1 });
  net(torch.ones([2, 2]))
    .sum()
    .backward();
  const grad = net.fc?.weight.grad;
  assert.equal(net.to("float64"), net);
  net.parameters().forEach((parameter, i) => void assert.equal(parameter, parameters[i]));
  assert.equal(net.scale.dtype, "float64");
  assert.equal(net.fc?.weight.grad?.dtype, "float64");
  assert.equal(net.fc?.weight.grad, grad);
  assert.equal(net.mask.dtype, "float64");
  assert.equal(net.norm.numBatchesTracked?.dtype, "int64");
  optimizer.step();
  assert.equal(net.to({ dtype: "bfloat16" }).scale.dtype, "bfloat16");
  assert.equal(net.to(torch.ones([1])).scale.dtype, "float32");
  const spectrum = net.registerBuffer("spectrum", torch.complex(torch.ones([2]), torch.ones([2])));
  assert.ok(net.to("float64").getBuffer("spectrum") === spectrum, "it would lose its imaginary part");
  assert.equal(net.to("complex128").getBuffer("spectrum").dtype, "complex128");
  assert.throws(() => net.to("int64"), /cannot be converted to "int64"/);
});

test("a model on the meta device gets memory by toEmpty", () => {
  const net = new nn.Linear(2, 3, { device: "meta" });
  net.toEmpty({ device: "cpu" });
  assert.equal(net.weight.device, "cpu");
  assert.ok(net.weight instanceof nn.Parameter);
  assert.equal(net.weight.requiresGrad, true);
  net.resetParameters();
  assert.deepEqual(net(torch.ones([2])).shape, [3]);
});

test("zeroGrad drops gradients or zeroes them, requiresGrad_ freezes", () => {
  const model = new nn.Linear(1, 1);
  model(torch.ones([1])).backward();
  model.zeroGrad({ setToNone: false });
  assert.deepEqual(model.weight.grad?.tolist(), [[0]]);
  model.zeroGrad();
  assert.equal(model.weight.grad, null);
  model.requiresGrad_(false);
  assert.deepEqual(
    model.parameters().map((p) => p.requiresGrad),
    [false, false],
  );
});

test("apply visits children before their parent", () => {
  const order: string[] = [];
  new nn.Sequential(new nn.Linear(1, 1), new nn.Sequential(new nn.ReLU())).apply(
    (m) => void order.push(m.constructor.name),
  );
  assert.deepEqual(order, ["Linear", "ReLU", "Sequential", "Sequential"]);
});

test("a state dict shares memory, has no history, and loads into another model", () => {
  const source = new Net();
  const state = source.stateDict();
  assert.equal(state.scale?.requiresGrad, false);
  state.scale?.fill_(7);
  assert.deepEqual(source.scale.tolist(), [7, 7]);
  assert.equal(source.stateDict({ keepVars: true }).scale, source.scale);
  assert.deepEqual(Object.keys(new nn.Linear(1, 1).stateDict({ prefix: "fc." })), ["fc.weight", "fc.bias"]);
  const target = new Net();
  const before = target.parameters();
  assert.deepEqual(target.loadStateDict(state), { missingKeys: [], unexpectedKeys: [] });
  target.parameters().forEach((parameter, i) => void assert.equal(parameter, before[i]));
  assert.deepEqual(target.scale.tolist(), [7, 7]);
  state.scale?.fill_(1);
  assert.deepEqual(target.scale.tolist(), [7, 7]);
});

test("assign makes the given tensors the module's own", () => {
  const net = nn.init.skipInit(() => new nn.Linear(2, 1, { device: "meta" }));
  const weight = torch.tensor([[1, 2]], { dtype: "float32" });
  net.loadStateDict(
    new Map([
      ["weight", weight],
      ["bias", torch.zeros([1])],
    ]),
    { assign: true },
  );
  assert.ok(net.weight instanceof nn.Parameter);
  assert.equal(net(torch.ones([2])).item(), 3);
});

test("loading complains as PyTorch does", () => {
  const model = new nn.Sequential(new nn.Linear(2, 1), new nn.Linear(1, 1));
  const state = {
    "0.weight": torch.ones([1, 3]),
    "0.bias": torch.ones([1]),
    "1.weight": torch.ones([1, 1]),
    other: torch.ones([1]),
  };
  assert.throws(
    () => model.loadStateDict(state),
    (error: Error) => {
      assert.equal(
        error.message.split("\n").slice(0, 4).join("\n"),
        "Error(s) in loading state_dict for Sequential:\n" +
          '\tMissing key(s) in state_dict: "1.bias". \n' +
          '\tUnexpected key(s) in state_dict: "other". \n' +
          "\tsize mismatch for 0.weight: copying a param with shape [1, 3] from checkpoint, the shape in current model is [1, 2].",
      );
      return error instanceof torch.UsageError;
    },
  );
  const { other: _, ...rest } = state;
  const right = { ...rest, "0.weight": torch.ones([1, 2]) };
  assert.deepEqual(model.loadStateDict({ ...right, more: 1 }, { strict: false }), {
    missingKeys: ["1.bias"],
    unexpectedKeys: ["more"],
  });
  assert.deepEqual(numbers(model.getParameter("0.weight")), [1, 1]);
  const wrapped = Object.fromEntries(Object.entries(model.stateDict()).map(([key, value]) => [`module.${key}`, value]));
  assert.throws(() => model.loadStateDict(wrapped), /saved from a wrapped model/);
});

test("old files without a batch counter load", () => {
  const norm = new nn.BatchNorm1d(1);
  const { num_batches_tracked: _, ...state } = norm.stateDict();
  assert.deepEqual(norm.loadStateDict(state).missingKeys, []);
});

test("extra state goes into the state dict and back", () => {
  class Counter extends nn.Module<[], number> {
    count = 0;
    forward() {
      return ++this.count;
    }
    getExtraState() {
      return { count: this.count };
    }
    setExtraState(state: { count: number }) {
      this.count = state.count;
    }
  }
  const counter = new Counter();
  counter();
  const other = new Counter();
  other.loadStateDict(counter.stateDict());
  assert.equal(other.count, 1);
});

test("hooks around state dicts may change what is saved and what is loaded", () => {
  const seen: unknown[] = [];
  const make = () => {
    const inner = new nn.Linear(1, 1, { bias: false });
    return { inner, outer: new nn.Sequential(new nn.Linear(1, 1), inner) };
  };
  const { outer: source, inner } = make();
  source.registerStateDictPreHook((module, prefix, keepVars) => void seen.push([module === source, prefix, keepVars]));
  inner.registerStateDictPreHook((module, prefix) => void seen.push([module === inner, prefix]));
  inner.registerStateDictPostHook((_, state, prefix) => {
    state[`${prefix}old`] = state[`${prefix}weight`] as Tensor;
    delete state[`${prefix}weight`];
  });
  const before = source.registerStateDictPostHook((_, state, prefix) => void seen.push([Object.keys(state), prefix]));
  const state = source.stateDict({ keepVars: true });
  assert.deepEqual(seen.splice(0), [
    [true, "", true],
    [true, "1."],
    [["0.weight", "0.bias", "1.old"], ""],
  ]);
  before.remove();

  const { outer: target, inner: targetInner } = make();
  assert.throws(() => target.loadStateDict(state), /Missing key\(s\) in state_dict: "1\.weight"/);
  targetInner.registerLoadStateDictPreHook((_, given, prefix) => {
    if (given.delete(`${prefix}old`)) given.set(`${prefix}weight`, state["1.old"]);
  });
  const note = (name: string) => (module: nn.AnyModule, result: nn.LoadResult) => {
    seen.push([name, module.parameters()[0]?.item() === source.parameters()[name === "inner" ? 2 : 0]?.item()]);
    result.missingKeys.length = 0;
  };
  target.registerLoadStateDictPostHook(note("outer"));
  const last = targetInner.registerLoadStateDictPostHook(note("inner"));
  assert.deepEqual(target.loadStateDict(state), { missingKeys: [], unexpectedKeys: [] });
  assert.deepEqual(seen.splice(0), [
    ["inner", true],
    ["outer", true],
  ]);
  assert.deepEqual(Object.keys(state), ["0.weight", "0.bias", "1.old"]);
  // Neither a trial nor a state that does not fit is told as loaded.
  target.loadStateDict(state, { dryRun: true });
  assert.throws(() => target.loadStateDict({ ...state, more: state["1.old"] as Tensor }), /Unexpected key/);
  assert.deepEqual(seen, []);
  last.remove();
  const { "0.bias": _, ...part } = state;
  assert.deepEqual(target.loadStateDict(part, { strict: false }).missingKeys, []);
  assert.deepEqual(seen, [["outer", true]]);
  assert.throws(() => target.registerStateDictPreHook(3 as never), /Expected `hook` to be a function, but got 3/);
  assert.deepEqual(Object.keys(nn.utils.deepCopy(source).stateDict()), ["0.weight", "0.bias", "1.old"]);
});

test("buffers and parameters outlive a scope in which their module was made", () => {
  let net: Net | undefined;
  torch.scope(() => {
    net = new Net();
  });
  assertClose((net as Net).eval()(torch.zeros([1, 2])), numbers((net as Net).fc?.bias as Tensor));
});

test("modules print as in PyTorch", () => {
  const model = new nn.Sequential(
    new nn.Linear(1, 2),
    new nn.Sequential({ act: new nn.ReLU(), norm: new nn.LayerNorm(2) }),
  );
  const text = [
    "Sequential(",
    "  (0): Linear(in_features=1, out_features=2, bias=True)",
    "  (1): Sequential(",
    "    (act): ReLU()",
    "    (norm): LayerNorm((2,), eps=1e-05, elementwise_affine=True)",
    "  )",
    ")",
  ].join("\n");
  assert.equal(String(model), text);
  assert.equal(inspect(model), text);
  assert.equal(
    String(new nn.ModuleDict({ a: new nn.Dropout(0.1, { inplace: true }) })),
    "ModuleDict(\n  (a): Dropout(p=0.1, inplace=True)\n)",
  );
  assert.equal(String(new nn.Parameter(torch.ones([1]))), "Parameter containing:\ntensor([1.], requires_grad=True)");
});

test("containers hold modules in order", () => {
  const list = new nn.ModuleList([new nn.Linear(1, 2), new nn.Linear(2, 3)]);
  list.append(new nn.Linear(3, 4)).insert(0, new nn.Linear(9, 1));
  assert.deepEqual(
    [...list].map((m) => m.outFeatures),
    [1, 2, 3, 4],
  );
  assert.equal(list.length, 4);
  assert.equal(list.at(-1)?.outFeatures, 4);
  assert.deepEqual(
    list
      .namedParameters()
      .map(([name]) => name)
      .slice(0, 3),
    ["0.weight", "0.bias", "1.weight"],
  );
  const dict = new nn.ModuleDict({ "10": new nn.ReLU(), b: new nn.Linear(1, 1) });
  dict.set("2", new nn.ReLU());
  assert.deepEqual([...dict.keys()], ["10", "b", "2"]);
  assert.deepEqual(
    dict.namedChildren().map(([name]) => name),
    ["10", "b", "2"],
  );
  assert.equal(dict.delete("b"), true);
  assert.throws(() => dict.get("b"), /no module called "b"/);
  const parameters = new nn.ParameterList([torch.ones([1]), torch.ones([2])]);
  assert.deepEqual(
    parameters.namedParameters().map(([name]) => name),
    ["0", "1"],
  );
  assert.throws(() => (list as unknown as () => void)(), /A ModuleList cannot be called/);
  const sequential = new nn.Sequential(new nn.Linear(1, 2), new nn.ReLU()).append(new nn.Linear(2, 1));
  assert.equal(sequential.length, 3);
  assert.deepEqual(sequential(torch.ones([5, 1])).shape, [5, 1]);
});

test("names that cannot be used are refused", () => {
  const net = new Net();
  assert.throws(() => net.registerBuffer("a.b", torch.ones([1])), /names are parts of dotted paths/);
  assert.throws(() => net.registerBuffer("forward", torch.ones([1])), /already has a member called `forward`/);
  assert.throws(() => net.registerModule("fc", new nn.Identity()), /already has a member called `fc`/);
  assert.throws(() => net.registerBuffer("p", new nn.Parameter(torch.ones([1]))), /no Parameter/);
});

test("a parameter shares the memory of its tensor and has no history", () => {
  const x = torch.ones([2], { requiresGrad: true });
  const data = x.mul(2);
  const parameter = new nn.Parameter(data);
  assert.equal(parameter.isLeaf, true);
  data.detach().fill_(5);
  assert.deepEqual(parameter.tolist(), [5, 5]);
  assert.equal(new nn.Parameter(torch.ones([1]), false).requiresGrad, false);
  assert.equal(new nn.Parameter(torch.ones([1], { dtype: "int64" }), { requiresGrad: false }).dtype, "int64");
  assert.throws(() => new nn.Parameter(3 as unknown as Tensor), /new nn\.Parameter\(torch\.tensor/);
});
