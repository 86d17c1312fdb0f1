// What the compiler has to know about wrapped objects. Each check fails to compile when it does not hold.
import assert from "node:assert/strict";
import { it } from "node:test";
import {
  AttributeDict,
  type BatchFacts,
  type Callback,
  EarlyStopping,
  Fabric,
  type FabricModule,
  type HookArguments,
  type HookName,
  type lazyLoad,
  type MLflowLogger,
  ModelCheckpoint,
  type materializeTensors,
  ParallelStrategy,
  Strategy,
  type SummaryWriter,
  TensorBoardLogger,
} from "@fabric-ts/fabric";
import type { Device, safetensors, Tensor } from "@fabric-ts/torch";
import { data, nn, optim } from "@fabric-ts/torch";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

class Model extends nn.Module<[Tensor, number?], { y: Tensor }> {
  layer = new nn.Linear(4, 2);
  title = "model";
  forward(x: Tensor, _times?: number): { y: Tensor } {
    return { y: this.layer(x) };
  }
  generate(length: number): Tensor[] {
    return new Array<Tensor>(length).fill(this.layer.weight);
  }
  helper = (x: Tensor): Tensor => x;
}

it("types of wrapped models, optimizers and loaders are exact", () => {
  const fabric = new Fabric({ accelerator: "cpu", devices: 1 });
  const make = (): Model => new Model();
  const raw = make();

  const model = fabric.setup(make());
  same<typeof model, FabricModule<Model>>(true);
  same<typeof model.module, Model>(true);
  same<typeof model.title, string>(true);
  same<typeof model.layer, nn.Linear>(true);
  same<typeof model.device, Device>(true);
  same<ReturnType<typeof model>, { y: Tensor }>(true);
  same<ReturnType<typeof model.forward>, { y: Tensor }>(true);
  same<Parameters<typeof model>, [Tensor, number?]>(true);
  same<ReturnType<typeof model.generate>, Tensor[]>(true);
  const asModel: Model = model;
  void asModel;

  model.markForwardMethod("generate");
  model.markForwardMethod("helper");
  model.markForwardMethod(model.generate);
  model.markForwardMethod(model.module.generate);
  const wrong = (): void => {
    // @ts-expect-error: no such method
    model.markForwardMethod("generat");
    // @ts-expect-error: an attribute
    model.markForwardMethod("title");
    // @ts-expect-error: a submodule
    model.markForwardMethod("layer");
    // @ts-expect-error: forward itself
    model.markForwardMethod("forward");
    // @ts-expect-error: a method of every module
    model.markForwardMethod("parameters");
    // @ts-expect-error: not a function
    model.markForwardMethod(3);
    // @ts-expect-error: module is read-only
    model.module = raw;
    // @ts-expect-error: the argument has to be a Tensor
    model("x");
    // @ts-expect-error: a scheduler needs an optimizer
    fabric.setup(raw, { scheduler: 1 });
    // @ts-expect-error: no such option
    new Fabric({ num_nodes: 2 });
    // Names are those of the registries, which anyone may add to.
    new Fabric({ accelerator: "my_accelerator", strategy: "my_strategy" });
    // @ts-expect-error: no such precision
    new Fabric({ precision: "8-true" });
    // @ts-expect-error: the batch is a Promise
    const value: number = fabric.broadcast(3);
    void value;
  };
  void wrong;

  const sgd = new optim.SGD(raw.parameters(), { lr: 0.1 });
  const adam = new optim.Adam(raw.parameters(), { lr: 0.1 });
  const pair = fabric.setup(make(), sgd);
  same<(typeof pair)["length"], 2>(true);
  same<(typeof pair)[0], FabricModule<Model>>(true);
  same<(typeof pair)[1]["optimizer"], optim.SGD>(true);
  const [, asSgd]: [unknown, optim.SGD] = pair;
  void asSgd;

  const triple = fabric.setup(make(), sgd, adam);
  same<(typeof triple)["length"], 3>(true);
  same<(typeof triple)[1]["optimizer"], optim.SGD>(true);
  same<(typeof triple)[2]["optimizer"], optim.Adam>(true);

  const withOptions = fabric.setup(make(), sgd, { moveToDevice: false });
  same<(typeof withOptions)["length"], 2>(true);

  const scheduler = { step(): void {}, kind: "cosine" as const };
  const [, , back] = fabric.setup(make(), sgd, { scheduler });
  same<typeof back, { step(): void; kind: "cosine" }>(true);

  const one = fabric.setupOptimizers(sgd);
  same<typeof one.optimizer, optim.SGD>(true);
  const [, second] = fabric.setupOptimizers(sgd, adam);
  same<typeof second.optimizer, optim.Adam>(true);

  const loader = new data.DataLoader(["a", "b"], { collateFn: (samples) => samples.join("") });
  const wrapped = fabric.setupDataLoaders(loader);
  for (const batch of wrapped) same<typeof batch, string>(true);
  const loaders = fabric.setupDataLoaders(loader, loader, { moveToDevice: false });
  same<(typeof loaders)["length"], 2>(true);

  const clipped = (): void => {
    const norm = fabric.clipGradients(model, sgd, { maxNorm: 1 });
    const flags: { clipVal?: number; maxNorm?: number } = {};
    const perhaps = fabric.clipGradients(model, sgd, flags);
    same<typeof perhaps, Tensor | undefined>(true);
    same<typeof norm, Tensor>(true);
  };
  void clipped;
  const gathered = (): Promise<{ loss: Tensor; names: string[] }> => fabric.allGather({ loss: 1, names: ["a"] });
  void gathered;
  const parts = (): Promise<{ loss: Tensor[]; more: { x: Tensor[] }; name: string }> =>
    fabric.allGather({ loss: 1, more: { x: {} as Tensor }, name: "a" }, { uneven: true });
  void parts;
  const part = async (): Promise<void> => {
    const lists = await fabric.allGather({} as Tensor, { uneven: true });
    same<typeof lists, Tensor[]>(true);
    // @ts-expect-error: a barrier has no such option
    await fabric.barrier("name", { timeout: 1 });
  };
  void part;
  const made = fabric.initModule({ emptyInit: true }, make);
  same<typeof made, Model>(true);
});

it("types of launched functions: arguments are checked, results awaited", () => {
  const check = (fabric: Fabric): void => {
    const train = async (_fabric: Fabric, epochs: number): Promise<{ loss: number }> => ({ loss: epochs });
    same<ReturnType<typeof fabric.launch<[number], Promise<{ loss: number }>>>, Promise<{ loss: number }>>(true);
    const result = fabric.launch(train, 3);
    same<typeof result, Promise<{ loss: number }>>(true);
    const named = fabric.launch<{ loss: number }>({ module: "./train.js", export: "train" }, 3);
    same<typeof named, Promise<{ loss: number }>>(true);
    const bare = fabric.launch();
    same<typeof bare, Promise<void>>(true);
    // @ts-expect-error: an argument of another type
    void fabric.launch(train, "3");
    // @ts-expect-error: an argument is missing
    void fabric.launch(train);
    // @ts-expect-error: a result instead of a function
    void fabric.launch(train(fabric, 3));
    // @ts-expect-error: no such key
    void fabric.launch({ module: "./train.js", name: "train" });
  };
  void check;
});

it("types of callbacks follow the conventional names, and allow any other", () => {
  class Mine implements Callback {
    onTrainBatchEnd({ loss, batchIdx, anything }: BatchFacts): void {
      same<typeof loss, Tensor | number | undefined>(true);
      same<typeof batchIdx, number | undefined>(true);
      same<typeof anything, unknown>(true);
    }
    // A hook may ask for more than the convention promises, and return what it likes.
    async onTrainEpochEnd({ epoch }: { epoch: number }): Promise<number> {
      return epoch;
    }
    onSomethingElse(a: string, b: number): string {
      return a.repeat(b);
    }
  }
  const fabric = new Fabric({ accelerator: "cpu", devices: 1, callbacks: [new Mine(), {}] });
  const calls = async (): Promise<void> => {
    const waiting = fabric.call("onTrainBatchEnd", { fabric, loss: 0.5, batchIdx: 1, anything: [] });
    same<typeof waiting, void | Promise<void>>(true);
    await fabric.call("onSomethingElse", "a", 2);
    await fabric.call("onTrainEpochEnd", 3, "as one likes");
    // @ts-expect-error: the name of a hook is a string
    await fabric.call(3);
    // @ts-expect-error: a callback is an object
    new Fabric({ callbacks: "progress" });
  };
  void calls;
  same<HookArguments<"onTrainBatchEnd">, [facts: BatchFacts]>(true);
  same<"onEpoch" extends HookName ? true : false, false>(true);
  const wrong = (): void => {
    // @ts-expect-error: none of its methods is a hook
    class Misspelt implements Callback {
      onTrainEpochEnds(): void {}
    }
    void Misspelt;
    // @ts-expect-error: what to monitor
    new EarlyStopping({});
    // @ts-expect-error: no such mode
    new EarlyStopping({ monitor: "loss", mode: "auto" });
    // @ts-expect-error: where to
    new ModelCheckpoint({ monitor: "loss" });
  };
  void wrong;
  const checkpoint = new ModelCheckpoint({ dirpath: "runs" });
  same<typeof checkpoint.bestModelScore, number | null>(true);
});

it("types of logging take a step, options or both, and loggers their own options", () => {
  const check = (fabric: Fabric, loss: Tensor): void => {
    fabric.log("loss", loss);
    fabric.log("loss", loss, 3, { every: 2 });
    fabric.logDict({ loss, nested: { a: 1 } }, { step: 3, every: 2 });
    // @ts-expect-error: the step is a number
    fabric.log("loss", loss, "3");
    // @ts-expect-error: no such option
    fabric.logDict({ loss }, { evry: 2 });
    // @ts-expect-error: metrics go by name
    fabric.logDict(3);
    // @ts-expect-error: loggers are objects
    new Fabric({ loggers: "csv" });
    // @ts-expect-error: the directory comes first
    new TensorBoardLogger({ rootDir: "logs" });
    // @ts-expect-error: no such option
    new TensorBoardLogger("logs", { max_queue: 3 });
  };
  void check;
  same<TensorBoardLogger["experiment"], SummaryWriter>(true);
  same<TensorBoardLogger["logDir"], string>(true);
  same<MLflowLogger["runId"], string | null>(true);
  same<ReturnType<MLflowLogger["finalize"]>, Promise<void>>(true);
});

it("an AttributeDict knows the types of its entries, and takes others", () => {
  const state = new AttributeDict({ model: new nn.Linear(1, 1), epoch: 0 });
  same<typeof state.epoch, number>(true);
  same<typeof state.model, nn.Linear>(true);
  same<typeof state.best, unknown>(true);
  state.epoch++;
  state.best = 0.5;
  // @ts-expect-error: an epoch is a number
  state.epoch = "three";
  const empty = new AttributeDict();
  same<typeof empty.lr, unknown>(true);
});

it("types of files and checkpoints are exact", () => {
  const state = { model: new nn.Linear(1, 1).stateDict(), step: 3 };
  same<ReturnType<typeof materializeTensors<typeof state>>, Promise<typeof state>>(true);
  same<ReturnType<typeof lazyLoad>, Promise<unknown>>(true);
  same<ReturnType<typeof safetensors.loadFile>, Promise<Record<string, Tensor>>>(true);
  same<ReturnType<typeof safetensors.loadModel>, Promise<nn.LoadResult>>(true);
  // The names of layers go in as they come out.
  same<typeof state.model extends safetensors.SafeTensors ? true : false, true>(true);
  // @ts-expect-error: a state with more than tensors is not a file of tensors
  const wrong: safetensors.SafeTensors = { step: 3 };
  void wrong;
});

it("types of strategies ask for what no base can know", () => {
  // @ts-expect-error the device, who writes, how models move, and the collectives
  class Nothing extends Strategy {}
  // @ts-expect-error how models move
  class NoMoving extends ParallelStrategy {}
  assert.ok(Nothing.prototype instanceof Strategy && NoMoving.prototype instanceof ParallelStrategy);
});
