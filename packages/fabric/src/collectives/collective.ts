// What every kind of collective plugin offers: one group of processes at most, and the calls that they make together.
import { type Tensor, UsageError } from "@fabric-ts/torch";
import { className } from "../utilities/describe.js";

/**
 * Collectives over one group of processes, usable with and without Fabric. Extend it to use another library. All calls that move
 * data work in place and return the tensor, or the list, that they have filled.
 *
 * @typeParam G the group; null where this process is no member of it
 */
export abstract class Collective<G> {
  #group: G | undefined;

  /** This process within the group. */
  abstract get rank(): number;
  /** The number of processes in the group. */
  abstract get worldSize(): number;

  /** Copies the tensor of rank `src` into everybody's. */
  abstract broadcast(tensor: Tensor, src: number): Promise<Tensor>;
  /** Combines the tensors of all ranks. */
  abstract allReduce(tensor: Tensor, op?: string): Promise<Tensor>;
  /** Combines the tensors of all ranks on rank `dst`. */
  abstract reduce(tensor: Tensor, dst: number, op?: string): Promise<Tensor>;
  /** Puts the tensors of all ranks into the list, by rank. */
  abstract allGather(tensorList: Tensor[], tensor: Tensor): Promise<Tensor[]>;
  /** Puts the tensors of all ranks into the list of rank `dst`; the others pass null. */
  abstract gather(tensor: Tensor, gatherList: Tensor[] | null, dst?: number): Promise<Tensor[]>;
  /** Puts the i-th tensor of rank `src`'s list into the tensor of rank i; the others pass null. */
  abstract scatter(tensor: Tensor, scatterList: Tensor[] | null, src?: number): Promise<Tensor>;
  /** Combines the i-th tensors of all lists into the output of rank i. */
  abstract reduceScatter(output: Tensor, inputList: Tensor[], op?: string): Promise<Tensor>;
  /** Sends the i-th input to rank i, and puts what the ranks send into the outputs, by rank. */
  abstract allToAll(outputList: Tensor[], inputList: Tensor[]): Promise<Tensor[]>;
  /** Sends a tensor to one rank, which has to receive it. */
  abstract send(tensor: Tensor, dst: number, tag?: number): Promise<void>;
  /** Receives into the tensor what rank `src` sends (default: any rank). */
  abstract recv(tensor: Tensor, src?: number | null, tag?: number): Promise<Tensor>;
  /** Waits for all ranks. */
  abstract barrier(deviceIds?: number[] | null): Promise<void>;

  /** True where this kind of collective can work. */
  abstract isAvailable(): boolean;
  /** True between `initGroup` and the end of the group of all processes. */
  abstract isInitialized(): boolean;
  /** Connects all processes. */
  abstract initGroup(options?: object): Promise<void>;
  /** Makes a group of some processes. */
  abstract newGroup(options?: object): Promise<G>;
  /** Ends a group. */
  abstract destroyGroup(group: G): void;
  /** What the library calls a reduction. */
  abstract convertToNativeOp(op: string): string;

  /** The group that this object owns. */
  get group(): G {
    if (this.#group !== undefined) return this.#group;
    throw new UsageError(`\`${className(this)}\` does not own a group.`, {
      hint: `Call \`await ${className(this)}.createGroup()\` on the object first.`,
    });
  }
  /** internal: true after `createGroup` and before `teardown`. */
  protected get ownsGroup(): boolean {
    return this.#group !== undefined;
  }

  /** Connects all processes, unless they are already. Returns the object. */
  async setup(options: object = {}): Promise<this> {
    if (!this.isInitialized()) await this.initGroup(options);
    return this;
  }
  /** Makes the group that this object owns. All processes call it, members or not. Returns the object. */
  async createGroup(options: object = {}): Promise<this> {
    if (this.#group !== undefined) {
      throw new UsageError(`\`${className(this)}\` already owns a group.`, {
        hint: "Make another object for another group, or call `teardown()` first.",
      });
    }
    this.#group = await this.newGroup(options);
    return this;
  }
  /** Ends the group that this object owns. Returns the object. */
  async teardown(): Promise<this> {
    if (this.#group === undefined) {
      throw new UsageError(`\`${className(this)}\` does not own a group to destroy.`, {
        hint: "`createGroup()` makes one.",
      });
    }
    const group = this.#group;
    this.#group = undefined;
    this.destroyGroup(group);
    return this;
  }
}
