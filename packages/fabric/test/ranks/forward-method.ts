// Two processes: which ways of calling a model under DDP work, and which are refused.

import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { MyModel } from "../support/models.js";
import { messageOf, report } from "../support/run-ranks.js";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();

Fabric.seedEverything(1, { verbose: false });
const raw = new MyModel();
const model = fabric.setup(raw);
const x = torch.randn([10]);
const expected = raw(x).tolist();
const sees = (fn: () => unknown): Promise<string | null> => messageOf(fn);

const results = {
  className: model.constructor.name,
  isModel: (model as unknown) instanceof MyModel,
  device: model.device,
  sameModule: model.module === raw,
  sameWeight: model.layer.weight === raw.layer.weight,
  sameMethod: new Set([model.generate, model.generate]).size === 1,
  cleanKeys: Object.keys(model.stateDict()),
  called: model(x).tolist(),
  forward: model.forward(x).tolist(),
  expected,
  describe: model.describe(),
  usesWeights: model.usesWeights(x).tolist(),
  submodule: model.layer(x).tolist(),
  errors: {
    generate: await sees(() => model.generate(x)),
    held: await sees(() => {
      const { generate } = model;
      return generate(x);
    }),
    callsLayer: await sees(() => model.callsLayer(x)),
    callsForward: await sees(() => model.callsForward(x)),
    callsGenerate: await sees(() => model.callsGenerate(x)),
    swallows: await sees(() => model.swallows(x)),
    fails: await sees(() => model.fails()),
    later: await sees(() => model.later(x)),
    waits: await sees(() => model.waits()),
    stream: await sees(() => [...model.stream(x)]),
    count: await sees(() => [...model.count()]),
    arrow: await sees(() => model.arrow(x)),
    throughModule: await sees(() => model.module.generate(x)),
  },
  afterErrors: model(x).tolist(),
  rawAfterErrors: raw.generate(x).tolist(),
  marks: {
    form1: await sees(() => model.markForwardMethod(model.generate)),
    form2: await sees(() => model.markForwardMethod("generate")),
    again: await sees(() => model.markForwardMethod(model.generate)),
    raw: await sees(() => model.markForwardMethod(raw.callsLayer)),
    arrow: await sees(() => model.markForwardMethod("arrow")),
    describe: await sees(() => model.markForwardMethod("describe")),
    forward: await sees(() => model.markForwardMethod("forward" as never)),
    missing: await sees(() => model.markForwardMethod("nothing" as never)),
    attribute: await sees(() => model.markForwardMethod("version" as never)),
    submodule: await sees(() => model.markForwardMethod("layer" as never)),
    otherFunction: await sees(() => model.markForwardMethod((() => x) as never)),
    number: await sees(() => model.markForwardMethod(3 as never)),
  },
  generated: model.generate(x).tolist(),
  shape: model.generate().shape,
  arrowMarked: model.arrow(x).tolist(),
  callsLayerMarked: model.callsLayer(x).tolist(),
  describeMarked: model.describe(),
  forwardIsBack: Object.hasOwn(raw, "forward"),
  afterMarks: model(x).tolist(),
};

// A marked method that fails on its way leaves the model as it was.
const failing = fabric.setup(new MyModel());
failing.markForwardMethod("fails");
const failed = await messageOf(() => failing.fails());
const forwardAfterFailure = Object.hasOwn(failing.module, "forward");
failing.markForwardMethod("later");
const asyncMarked = await messageOf(() => failing.later(x));

// Gradients of a marked method's output are averaged over the ranks.
model.zeroGrad();
const mine = torch.full([4, 10], fabric.globalRank + 1, { dtype: "float32" });
fabric.backward(model.generate(mine).sum());
const gradient = raw.layer.weight.grad?.tolist();

report(fabric.globalRank, {
  ...results,
  failed,
  forwardAfterFailure,
  asyncMarked,
  gradient,
  worldSize: fabric.worldSize,
});
