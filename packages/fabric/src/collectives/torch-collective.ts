// Collectives through the engine's process groups.
import { ConfigurationError, distributed, NotSupportedError, noGrad, type Tensor, UsageError } from "@fabric-ts/torch";
import { detectEnvironment } from "../environments/detect.js";
import { LightningEnvironment } from "../environments/lightning.js";
import { reportPhase } from "../environments/rank-channel.js";
import { createStore } from "../environments/rendezvous.js";
import { optionalNumber } from "../environments/variables.js";
import { checkOptions, describe } from "../utilities/describe.js";
import { Collective } from "./collective.js";

/** How `TorchCollective` connects all processes. What is left out comes from the environment. */
export interface TorchInitOptions {
  /** What carries the data (default `"gloo"`). */
  backend?: distributed.Backend | undefined;
  /** This process among all (default: `RANK`, or what the cluster says). */
  rank?: number | undefined;
  /** The number of processes (default: `WORLD_SIZE`, or what the cluster says). */
  worldSize?: number | undefined;
  /** Where the processes meet (default: the launcher's meeting point, or a TCP store at `MASTER_ADDR`, `MASTER_PORT`). */
  store?: distributed.Store | undefined;
  /** How long the processes wait for each other, and a collective for its answer (default 30 minutes). */
  timeoutMs?: number | undefined;
}

/** Options of `TorchCollective.setup`. */
export interface TorchSetupOptions extends TorchInitOptions {
  /** The host of rank 0, unless `MASTER_ADDR` says another. */
  mainAddress?: string | undefined;
  /** The port of rank 0, unless `MASTER_PORT` says another. */
  mainPort?: number | string | undefined;
}

/** How `TorchCollective.createGroup` makes a group. */
export interface TorchGroupOptions {
  /** The members (default: all processes). */
  ranks?: readonly number[] | null | undefined;
  /** Default: that of all processes. */
  backend?: distributed.Backend | undefined;
  /** How long a collective waits for its answer (default: that of all processes). */
  timeoutMs?: number | undefined;
}

const initOptions = ["backend", "rank", "worldSize", "store", "timeoutMs"];
const natives = ["sum", "avg", "mean", "product", "min", "max", "band", "bor", "bxor"];

/**
 * Collectives of the engine's process groups, with and without Fabric. Without a group of its own it uses the group of all processes.
 * Ranks in arguments are those among all processes; `rank` and `worldSize` are within the group.
 *
 *     const collective = new TorchCollective();
 *     await collective.setup({ mainAddress: "127.0.0.1", mainPort: 29500, rank, worldSize: 2 });
 *     await collective.createGroup({ ranks: [0, 1] });
 *     const [text] = await collective.broadcastObjectList(["hello"], 0);
 *     await collective.teardown();
 */
export class TorchCollective extends Collective<distributed.ProcessGroup | null> {
  static #ownDefaultGroup: distributed.ProcessGroup | null = null;
  #isSetUp = false;

  /** True while the group of all processes is one that a `TorchCollective` has made. */
  static get managesDefaultGroup(): boolean {
    return distributed.isInitialized() && distributed.getDefaultGroup() === TorchCollective.#ownDefaultGroup;
  }

  constructor() {
    if (!distributed.isAvailable()) {
      throw new UsageError("Torch distributed is not available.", {
        hint: "The addon was built without Gloo and NCCL: install Gloo's headers (on Debian: libgloo-dev) and run `npm run setup`.",
      });
    }
    super();
  }

  /** The group that this object owns, otherwise that of all processes; null where this process is no member. */
  override get group(): distributed.ProcessGroup | null {
    return !this.ownsGroup && distributed.isInitialized() ? distributed.getDefaultGroup() : super.group;
  }
  get rank(): number {
    return distributed.getRank(this.group);
  }
  get worldSize(): number {
    return distributed.getWorldSize(this.group);
  }

  async broadcast(tensor: Tensor, src: number): Promise<Tensor> {
    return await distributed.broadcast(tensor, { src, group: this.group });
  }
  async allReduce(tensor: Tensor, op = "sum"): Promise<Tensor> {
    return await distributed.allReduce(tensor, { op: this.convertToNativeOp(op), group: this.group });
  }
  async reduce(tensor: Tensor, dst: number, op = "sum"): Promise<Tensor> {
    return await distributed.reduce(tensor, { dst, op: this.convertToNativeOp(op), group: this.group });
  }
  async allGather(tensorList: Tensor[], tensor: Tensor): Promise<Tensor[]> {
    return fillTensors(tensorList, await distributed.allGather(tensor, { group: this.group }));
  }
  async gather(tensor: Tensor, gatherList: Tensor[] | null, dst = 0): Promise<Tensor[]> {
    return fillTensors(gatherList ?? [], (await distributed.gather(tensor, { dst, group: this.group })) ?? []);
  }
  async scatter(tensor: Tensor, scatterList: Tensor[] | null, src = 0): Promise<Tensor> {
    return await distributed.scatter(tensor, scatterList, { src, group: this.group });
  }
  async reduceScatter(output: Tensor, inputList: Tensor[], op = "sum"): Promise<Tensor> {
    return await distributed.reduceScatter(output, inputList, { op: this.convertToNativeOp(op), group: this.group });
  }
  async allToAll(outputList: Tensor[], inputList: Tensor[]): Promise<Tensor[]> {
    return fillTensors(outputList, await distributed.allToAll(inputList, { group: this.group }));
  }
  async send(tensor: Tensor, dst: number, tag = 0): Promise<void> {
    await distributed.send(tensor, dst, { tag, group: this.group });
  }
  async recv(tensor: Tensor, src: number | null = null, tag = 0): Promise<Tensor> {
    await distributed.recv(tensor, src, { tag, group: this.group });
    return tensor;
  }
  /** Waits for all members; a process that is none of them does not. The devices that Python names here are found without. */
  async barrier(_deviceIds?: number[] | null): Promise<void> {
    await distributed.barrier({ group: this.group });
  }

  /** Puts the values of all ranks into the list, by rank. Values are what `fabric.broadcast` sends: plain data with tensors in it. */
  async allGatherObject<T>(objectList: (T | null)[], obj: T): Promise<T[]> {
    return fill(objectList, await distributed.allGatherObject(obj, { group: this.group })) as T[];
  }
  /** Replaces the values of the list by those of rank `src`'s. */
  async broadcastObjectList<T>(objectList: T[], src: number): Promise<T[]> {
    return fill(objectList, await distributed.broadcastObject(objectList, { src, group: this.group }));
  }
  /** Puts the values of all ranks into the list of rank `dst`, by rank; the others pass null or an empty one. */
  async gatherObject<T>(obj: T, objectGatherList: (T | null)[] | null = null, dst = 0): Promise<T[]> {
    const gathered = await distributed.gatherObject(obj, { dst, group: this.group });
    return fill(objectGatherList ?? [], gathered ?? []) as T[];
  }
  /** Puts the i-th value of rank `src`'s list into the first place of rank i's output list. */
  async scatterObjectList<T>(outputList: (T | null)[], inputList: T[] | null, src = 0): Promise<T[]> {
    outputList[0] = await distributed.scatterObject(inputList, { src, group: this.group });
    return outputList as T[];
  }
  /** A barrier after which rank 0 knows who did not come; only with Gloo. */
  async monitoredBarrier(options: { timeoutMs?: number; waitAllRanks?: boolean } = {}): Promise<void> {
    checkOptions("monitoredBarrier", options, ["timeoutMs", "waitAllRanks"]);
    await distributed.monitoredBarrier({ ...options, group: this.group });
  }

  isAvailable(): boolean {
    return distributed.isAvailable();
  }
  isInitialized(): boolean {
    return distributed.isAvailable() && distributed.isInitialized();
  }
  /** Connects all processes. */
  async initGroup(options: TorchInitOptions = {}): Promise<void> {
    checkOptions("initGroup", options, initOptions);
    const { backend = "gloo", timeoutMs = 30 * 60 * 1000 } = options;
    const { rank, worldSize, store } = await meetingOf(options, timeoutMs);
    await distributed.initProcessGroup({ backend, rank, worldSize, store, timeoutMs });
    reportPhase("joined");
  }
  /** Makes a group; null on processes that are no members. */
  async newGroup(options: TorchGroupOptions = {}): Promise<distributed.ProcessGroup | null> {
    checkOptions("createGroup", options, ["ranks", "backend", "timeoutMs"]);
    const { ranks, ...rest } = options;
    return await distributed.newGroup(ranks, rest);
  }
  /** Ends a group; nothing happens where it has ended already or this process is no member. */
  destroyGroup(group: distributed.ProcessGroup | null): void {
    if (group !== null && distributed.getGroups().includes(group)) distributed.destroyProcessGroup(group);
  }
  /** The engine's name for a reduction, in any case: `"SUM"` is `"sum"`. */
  convertToNativeOp(op: string): distributed.ReduceOp {
    if (typeof op !== "string") {
      throw new ConfigurationError(`Unsupported op ${describe(op)} of type ${typeof op}.`, {
        hint: `Use one of ${natives.join(", ")}.`,
      });
    }
    const name = op.toLowerCase();
    if (natives.includes(name)) return name as distributed.ReduceOp;
    if (name === "premul_sum") {
      throw new NotSupportedError("The op `premul_sum` is not available.", {
        hint: "Multiply the tensor first, and use `sum`.",
      });
    }
    throw new ConfigurationError(`op ${describe(op)} is not a member of \`ReduceOp\`.`, {
      hint: `Use one of ${natives.join(", ")}.`,
    });
  }

  /** Connects all processes, unless they are already. The environment is afterwards as it was. */
  override async setup(options: TorchSetupOptions = {}): Promise<this> {
    checkOptions("setup", options, ["mainAddress", "mainPort", ...initOptions]);
    if (this.isInitialized()) {
      this.#isSetUp = true;
      return this;
    }
    const { mainAddress, mainPort, ...rest } = options;
    const forget = [setVariable("MASTER_ADDR", mainAddress), setVariable("MASTER_PORT", mainPort)];
    try {
      await super.setup(rest);
      TorchCollective.#ownDefaultGroup = distributed.getDefaultGroup();
      this.#isSetUp = true;
    } finally {
      for (const one of forget) one();
    }
    return this;
  }
  override async createGroup(options: TorchGroupOptions = {}): Promise<this> {
    return await super.createGroup(options);
  }
  /**
   * Ends this object's group, and the group of all processes when a `TorchCollective` has made it and no other group is left. After `setup`
   * it may also be called where another object has ended that already.
   */
  override async teardown(): Promise<this> {
    const isMember = !this.ownsGroup || this.group !== null;
    const hasNothing = !this.#isSetUp && !this.isInitialized();
    this.#isSetUp = false;
    if (this.ownsGroup || hasNothing) await super.teardown();
    const isLast = distributed.getGroups().length === 1;
    if (isMember && isLast && TorchCollective.managesDefaultGroup) distributed.destroyProcessGroup();
    return this;
  }
}

/** Puts values into the places of a list. */
function fill<T>(list: (T | null)[], values: readonly T[]): T[] {
  for (const [index, value] of values.entries()) list[index] = value;
  return list as T[];
}

/** Copies tensors into those of a list; where it has none they become its elements. */
function fillTensors(list: Tensor[], values: readonly Tensor[]): Tensor[] {
  noGrad(() => {
    for (const [index, value] of values.entries()) list[index] = list[index]?.copy_(value) ?? value;
  });
  return list;
}

/** Sets a variable of the environment that is not set, and returns what takes it away again. */
function setVariable(name: string, value: string | number | undefined): () => void {
  if (value === undefined || process.env[name] !== undefined) return () => {};
  process.env[name] = String(value);
  return () => delete process.env[name];
}

async function meetingOf(
  options: TorchInitOptions,
  timeoutMs: number,
): Promise<{ rank: number; worldSize: number; store: distributed.Store }> {
  const environment = detectEnvironment();
  const isCluster = !(environment instanceof LightningEnvironment);
  const { rank = isCluster ? environment.globalRank() : ownRank(environment), store } = options;
  const { worldSize = isCluster ? environment.worldSize() : optionalNumber("WORLD_SIZE") } = options;
  if (rank === undefined || worldSize === undefined) {
    throw new ConfigurationError(
      `TorchCollective does not know ${rank === undefined ? "the rank of this process" : "the number of processes"}.`,
      {
        hint: "Pass it, `setup({ rank, worldSize, mainAddress, mainPort })`, or start the processes with a launcher that sets RANK and WORLD_SIZE.",
      },
    );
  }
  if (!(Number.isInteger(rank) && rank >= 0 && rank < worldSize)) {
    throw new ConfigurationError(`The rank of this process is ${rank} in a world of ${worldSize}.`, {
      hint: "Ranks are whole numbers from 0 to one less than the number of processes.",
    });
  }
  if (store) return { rank, worldSize, store };
  const hasMeetingPoint = isCluster || process.env.MASTER_PORT || process.env.FABRIC_RENDEZVOUS_FILE;
  if (worldSize > 1 && !hasMeetingPoint) {
    throw new ConfigurationError("TorchCollective does not know where the processes meet.", {
      hint: "Pass a free port of rank 0's host to all of them, `setup({ mainAddress, mainPort })`, or set MASTER_ADDR and MASTER_PORT.",
    });
  }
  return { rank, worldSize, store: await createStore({ environment, worldSize, rank, timeoutMs }) };
}

/** The local rank is the rank on the first machine; on others it is not known without being told. */
function ownRank(environment: LightningEnvironment): number | undefined {
  return optionalNumber("RANK") ?? (environment.nodeRank() === 0 ? optionalNumber("LOCAL_RANK") : undefined);
}
