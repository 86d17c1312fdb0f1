// Where ranks, world size and the meeting point of a run come from. One subclass for each kind of cluster.
import { debuglog } from "node:util";
import type { distributed } from "@fabric-ts/torch";
import { ConfigurationError } from "@fabric-ts/torch/base";

const debug = debuglog("fabric");

/** Tells a process its place in the run. */
export abstract class ClusterEnvironment {
  /** Whether somebody else (a cluster's launcher) has started all the processes already. */
  abstract get createsProcessesExternally(): boolean;
  /** Host at which the ranks of several machines meet. */
  abstract get mainAddress(): string;
  /** Port at which the ranks of several machines meet. */
  abstract get mainPort(): number;

  /** Number of ranks in all. */
  abstract worldSize(): number;
  /** Ignored where the cluster decides. */
  abstract setWorldSize(size: number): void;
  /** Number of this process among all ranks. */
  abstract globalRank(): number;
  /** Ignored where the cluster decides. */
  abstract setGlobalRank(rank: number): void;
  /** Number of this process on its machine. */
  abstract localRank(): number;
  /** Number of this machine. */
  abstract nodeRank(): number;

  /** Whether this process runs in such a cluster. */
  static detect(): boolean {
    return false;
  }

  /** True where a store listens at the main address already, so that rank 0 connects to it like all others. */
  get isStoreHosted(): boolean {
    return false;
  }

  /** Tells one attempt of a restarted run from the next, where both use the same store. */
  get attempt(): string {
    return "0";
  }

  /** Tells this job from others whose ranks come to the same store by mistake; the same on all ranks of a job. */
  get jobKey(): string {
    return "";
  }

  /** A file that all ranks see, where all of them are on this machine: they meet in it, and no port is needed. */
  get rendezvousFile(): string | undefined {
    return undefined;
  }

  /** The signal by which the cluster announces that it will end this job; undefined where it does not, or where nobody acts on it. */
  get endSignal(): NodeJS.Signals | undefined {
    return undefined;
  }

  /** Throws a `ConfigurationError` when what the user asked for is not what the cluster gave. */
  validateSettings(_numDevices: number, _numNodes: number): void {}

  /** Called once all ranks have met, with the store they met in: what the launcher's variables leave open can be exchanged. */
  async exchange(_store: distributed.Store): Promise<void> {}

  /**
   * Puts this job back into the cluster's queue, to be started again later. Called on rank zero, once all ranks have saved. False, after
   * a warning that says why, when that is not possible; otherwise the cluster ends all processes of the job.
   */
  async requeue(): Promise<boolean> {
    return false;
  }

  /** Cleans up at the end of a run. */
  teardown(): void {}
}

/** internal: an environment whose ranks are given, so that the setters do nothing. */
export abstract class ExternalEnvironment extends ClusterEnvironment {
  get createsProcessesExternally(): boolean {
    return true;
  }

  setWorldSize(_size: number): void {
    debug("%s: setting the world size is not allowed. Ignored.", this.constructor.name);
  }

  setGlobalRank(_rank: number): void {
    debug("%s: setting the global rank is not allowed. Ignored.", this.constructor.name);
  }
}

/** internal: throws when the devices of all machines are not as many as the ranks that a launcher made. */
export function checkProduct(numDevices: number, numNodes: number, worldSize: number, hint: string): void {
  if (numDevices * numNodes === worldSize) return;
  throw new ConfigurationError(
    `You set \`devices: ${numDevices}\` and \`numNodes: ${numNodes}\` in Fabric, but the product (${numDevices} * ${numNodes} = ${numDevices * numNodes}) does not match the world size (${worldSize}).`,
    { hint },
  );
}
