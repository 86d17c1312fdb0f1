// Every part of Fabric written by a user from nothing: by extending the documented classes, with what the package exports and no more.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  Accelerator,
  type AllReduceOptions,
  acceleratorRegistry,
  type BackwardOptions,
  type BackwardSyncControl,
  type BarrierOptions,
  CheckpointIO,
  type CheckpointLoadOptions,
  type CheckpointPath,
  ClusterEnvironment,
  Fabric,
  type GatherOptions,
  Launcher,
  Precision,
  Strategy,
  type StrategyOptions,
  strategyRegistry,
} from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { type Device, type Dtype, type distributed, nn, optim, type Tensor } from "@fabric-ts/torch";
import { freePort } from "./launchers/job.js";

// What happened, in order.
const events: string[] = [];
const note = <T>(event: string, value: T): T => {
  events.push(event);
  return value;
};

/** Hardware whose devices are letters; it computes on the CPU. */
class LetterAccelerator extends Accelerator {
  override readonly name = "letters";
  override isAvailable(): boolean {
    return true;
  }
  override autoDeviceCount(): number {
    return 2;
  }
  override parseDevices(devices: unknown): number[] {
    if (typeof devices === "number") return Array.from({ length: devices }, (_, index) => index);
    if (typeof devices !== "string" || !/^[a-z]+$/.test(devices)) throw new TypeError(`letters, not ${devices}`);
    return [...devices].map((letter) => letter.charCodeAt(0) - "a".charCodeAt(0));
  }
  override getParallelDevices(parsed: number | number[]): Device[] {
    return (parsed as number[]).map(() => "cpu");
  }
  override setupDevice(device: Device): void {
    note(`setup ${device}`, undefined);
  }
  override teardown(): void {
    note("teardown letters", undefined);
  }
}

/** Weights stay in float32, sums are computed in float64, and the loss counts twice. */
class WidePrecision extends Precision {
  steps = 0;
  override get computeDtype(): Dtype {
    return "float64";
  }
  override convertModule<M extends nn.AnyModule>(module: M): M {
    module.to("float64");
    return note("convert", module);
  }
  override forwardContext(): Disposable {
    return torch.withDtype("float64");
  }
  override tensorInitContext(): Disposable {
    return torch.withDtype("float64");
  }
  override moduleInitContext(): Disposable {
    return torch.withDtype("float64");
  }
  override convertInput<T>(data: T): T {
    return (data as unknown[]).map((item) => (item instanceof torch.Tensor ? item.double() : item)) as T;
  }
  override convertOutput<T>(data: T): T {
    return (data instanceof torch.Tensor ? data.float() : data) as T;
  }
  override backward(tensor: Tensor, module: nn.AnyModule | null, options: BackwardOptions = {}): void {
    super.backward(tensor.mul(2), module, options);
  }
  override optimizerStep(optimizer: optim.Optimizer, closure?: () => Tensor): unknown {
    this.steps++;
    return super.optimizerStep(optimizer, closure);
  }
  override stateDict(): Record<string, unknown> {
    return { steps: this.steps };
  }
  override loadStateDict(state: Record<string, unknown>): void {
    this.steps = state.steps as number;
  }
}

/** Keeps checkpoints in memory. */
class MemoryIO extends CheckpointIO {
  readonly files = new Map<string, Record<string, unknown>>();
  override async saveCheckpoint(checkpoint: Record<string, unknown>, path: CheckpointPath): Promise<void> {
    this.files.set(String(path), structuredCopy(checkpoint));
  }
  override async loadCheckpoint(path: CheckpointPath, options?: CheckpointLoadOptions): Promise<unknown> {
    note(`load ${options?.weightsOnly ?? "default"}`, undefined);
    return this.files.get(String(path));
  }
  override async removeCheckpoint(path: CheckpointPath): Promise<void> {
    this.files.delete(String(path));
  }
}

/** Tensors by value, everything else as it is. */
function structuredCopy<T>(value: T): T {
  if (value instanceof torch.Tensor) return value.clone() as T;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(structuredCopy) as T;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, structuredCopy(item)])) as T;
}

/** A cluster with one process. */
class LonelyEnvironment extends ClusterEnvironment {
  validated: number[] = [];
  readonly #port: number;
  constructor(port: number) {
    super();
    this.#port = port;
  }
  static override detect(): boolean {
    return false;
  }
  override get createsProcessesExternally(): boolean {
    return true;
  }
  override get mainAddress(): string {
    return "127.0.0.1";
  }
  override get mainPort(): number {
    return this.#port;
  }
  override worldSize(): number {
    return 1;
  }
  override setWorldSize(): void {}
  override globalRank(): number {
    return 0;
  }
  override setGlobalRank(): void {}
  override localRank(): number {
    return 0;
  }
  override nodeRank(): number {
    return 0;
  }
  override validateSettings(numDevices: number, numNodes: number): void {
    this.validated = [numDevices, numNodes];
  }
  override async exchange(_store: distributed.Store): Promise<void> {
    note("exchange", undefined);
  }
  override teardown(): void {
    note("teardown cluster", undefined);
  }
}

/** Runs the function here. */
class HereLauncher extends Launcher {
  override readonly isInteractiveCompatible = true;
  override async launch<A extends unknown[], T>(fn: (...args: A) => T | Promise<T>, ...args: A): Promise<T> {
    return note("launch", await fn(...args));
  }
}

/** Gradients that nobody synchronizes. */
class Never implements BackwardSyncControl {
  noBackwardSync(_module: nn.AnyModule, enabled: boolean): Disposable {
    note(`no sync ${enabled}`, undefined);
    return { [Symbol.dispose]: () => note("sync again", undefined) };
  }
}

/** All that the base asks for, written out, and what it offers. */
class OwnStrategy extends Strategy {
  override readonly backwardSyncControl: BackwardSyncControl = new Never();
  constructor(options: StrategyOptions = {}) {
    super(options);
  }
  override get rootDevice(): Device {
    return "cpu";
  }
  override get isGlobalZero(): boolean {
    return true;
  }
  override configureLauncher(): void {
    this.launcher = new HereLauncher();
  }
  override moduleToDevice(module: nn.AnyModule): void {
    module.to(this.rootDevice);
  }
  override setupModule(module: nn.AnyModule): nn.AnyModule {
    return note("setupModule", module);
  }
  override async allGather(tensor: Tensor, _options?: GatherOptions): Promise<Tensor> {
    return tensor.unsqueeze(0);
  }
  override async allReduce(tensor: Tensor, _options?: AllReduceOptions): Promise<Tensor> {
    return tensor;
  }
  override async barrier(name?: string, _options?: BarrierOptions): Promise<void> {
    note(`barrier ${name}`, undefined);
  }
  override async broadcast<T>(value: T, _src?: number): Promise<T> {
    return value;
  }
}

describe("parts of one's own", () => {
  it("train, exchange, save and load together", async () => {
    events.length = 0;
    const precision = new WidePrecision();
    const files = new MemoryIO();
    const fabric = new Fabric({
      accelerator: new LetterAccelerator(),
      devices: "c",
      strategy: new OwnStrategy({ precision }),
      plugins: [files],
    });
    assert.throws(() => fabric.setup(new nn.Linear(1, 1)), /must call `\.launch\(\)`/);
    await fabric.launch();
    assert.deepEqual(events.splice(0), ["setup cpu", "launch"]);

    const raw = new nn.Linear(2, 1, { bias: false });
    torch.noGrad(() => raw.weight.fill_(1));
    const [model, optimizer] = fabric.setup(raw, new optim.SGD(raw.parameters(), { lr: 0.25 }));
    assert.deepEqual(events.splice(0), ["convert", "setup cpu", "setupModule"]);
    const output = model(torch.ones([2]));
    assert.deepEqual([output.dtype, raw.weight.dtype], ["float32", "float64"]);
    assert.throws(() => output.sum().backward(), /OwnStrategy and WidePrecision have work to do/);
    fabric.noBackwardSync(model, () => fabric.backward(model(torch.ones([2])).sum()));
    optimizer.step();
    assert.deepEqual(raw.weight.tolist(), [[0.5, 0.5]]);
    assert.deepEqual(events.splice(0), ["no sync true", "sync again"]);

    assert.deepEqual((await fabric.allGather(torch.ones([3]))).shape, [1, 3]);
    await fabric.save("memory", { model, optimizer, precision, step: 3 });
    torch.noGrad(() => raw.weight.zero_());
    precision.steps = 0;
    const state = { model, optimizer, precision, step: 0 };
    await fabric.load("memory", state, { weightsOnly: true });
    assert.deepEqual([raw.weight.tolist(), precision.steps, state.step], [[[0.5, 0.5]], 1, 3]);
    assert.deepEqual(events.splice(0), ["barrier undefined", "load true", "barrier undefined"]);
    await fabric.strategy.teardown();
    assert.deepEqual(events, ["teardown letters"]);
  });

  it("have names, once they are registered, also by decorators", () => {
    @acceleratorRegistry.register("letters", { description: "Devices that are letters." })
    class Named extends LetterAccelerator {}
    @strategyRegistry.register("Own", { init: [{ precision: new WidePrecision() }] })
    class NamedStrategy extends OwnStrategy {}
    try {
      const fabric = new Fabric({ accelerator: "letters", strategy: "own", devices: "ab" });
      assert.ok(fabric.accelerator instanceof Named && fabric.strategy instanceof NamedStrategy);
      assert.ok(fabric.strategy.precision instanceof WidePrecision);
      assert.equal(acceleratorRegistry.description("letters"), "Devices that are letters.");
      assert.throws(() => new Fabric({ accelerator: "letters", devices: "3" }), /letters, not 3/);
      const automatic = new Fabric({ accelerator: "letters", precision: "16-mixed" });
      assert.equal(automatic.strategy.constructor.name, "DDPStrategy", "two devices");
      assert.equal(automatic.strategy.precision.precision, "bf16-mixed", "its devices are CPUs");
    } finally {
      acceleratorRegistry.remove("letters");
      strategyRegistry.remove("own");
    }
  });

  it("an environment says where DDP's processes are", async () => {
    events.length = 0;
    const environment = new LonelyEnvironment(await freePort());
    const fabric = new Fabric({ accelerator: "cpu", strategy: "ddp", plugins: environment });
    await fabric.launch();
    try {
      assert.deepEqual([environment.validated, events.splice(0)], [[1, 1], ["exchange"]]);
      assert.deepEqual((await fabric.allGather(torch.ones([2]))).shape, [1, 2]);
    } finally {
      await fabric.strategy.teardown();
    }
    assert.deepEqual(events, ["teardown cluster"]);
  });
});
