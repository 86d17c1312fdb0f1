// The default environment: one machine, or several on each of which the user starts the program.
import { builtins } from "@fabric-ts/torch/base";
import { setCurrentRank } from "../utilities/rank-zero.js";
import { ClusterEnvironment } from "./cluster-environment.js";
import { optionalNumber, optionalPort } from "./variables.js";

/** Ranks started by Fabric's own launcher, or by hand with `LOCAL_RANK` and `NODE_RANK` set. */
export class LightningEnvironment extends ClusterEnvironment {
  #worldSize = 1;
  #globalRank = 0;
  #mainPort: number | undefined;

  static override detect(): boolean {
    return true;
  }

  /** True once somebody (the user, or our launcher) has set `LOCAL_RANK`. */
  get createsProcessesExternally(): boolean {
    return process.env.LOCAL_RANK !== undefined;
  }

  /** `MASTER_ADDR`, else this machine. */
  get mainAddress(): string {
    return process.env.MASTER_ADDR ?? "127.0.0.1";
  }

  /** `MASTER_PORT`, else a free port, found once. */
  get mainPort(): number {
    const given = optionalPort("MASTER_PORT");
    if (given !== undefined) return given;
    this.#mainPort ??= optionalPort("STANDALONE_PORT") ?? findFreePort();
    return this.#mainPort;
  }

  worldSize(): number {
    return this.#worldSize;
  }

  setWorldSize(size: number): void {
    this.#worldSize = size;
  }

  globalRank(): number {
    return this.#globalRank;
  }

  setGlobalRank(rank: number): void {
    this.#globalRank = rank;
    setCurrentRank(rank);
  }

  localRank(): number {
    return optionalNumber("LOCAL_RANK") ?? 0;
  }

  nodeRank(): number {
    return optionalNumber("NODE_RANK") ?? optionalNumber("GROUP_RANK") ?? 0;
  }

  override teardown(): void {
    delete process.env.WORLD_SIZE;
  }
}

/** internal: a port that nobody uses at this moment. */
export function findFreePort(): number {
  // Without a host name there is nothing to look up, and the address is known when listen() comes back.
  const server = builtins.net.createServer().unref().listen({ port: 0, exclusive: true });
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("internal: no free port was found.");
  return address.port;
}
