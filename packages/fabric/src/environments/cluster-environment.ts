// Where ranks, world size and the meeting point of a run come from. One subclass for each kind of cluster.

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

  /** Throws a `ConfigurationError` when what the user asked for is not what the cluster gave. */
  validateSettings(_numDevices: number, _numNodes: number): void {}

  /** Cleans up at the end of a run. */
  teardown(): void {}
}

/** internal: an environment whose ranks are given, so that the setters do nothing. */
export abstract class ExternalEnvironment extends ClusterEnvironment {
  get createsProcessesExternally(): boolean {
    return true;
  }

  setWorldSize(_size: number): void {}

  setGlobalRank(_rank: number): void {}
}
