// Ranks started by mpirun (Open MPI, or MPICH and its relatives). No MPI library is needed: the launcher's variables say enough.
import { lstatSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import type { distributed } from "@fabric-ts/torch";
import { ConfigurationError } from "@fabric-ts/torch/base";
import { checkProduct, ExternalEnvironment } from "./cluster-environment.js";
import { findFreePort } from "./lightning.js";
import { broadcastByPmi, hasPmi } from "./pmi.js";
import { optionalNumber, optionalPort, requiredNumber } from "./variables.js";

const launcher = "mpirun";

interface Dialect {
  rank: string;
  size: string;
  // The first that is set counts.
  localRank: readonly string[];
  localSize: readonly string[];
}

const dialects: readonly Dialect[] = [
  // Open MPI. Its OMPI_COMM_WORLD_NODE_RANK is no number of a machine but one more rank within it.
  {
    rank: "OMPI_COMM_WORLD_RANK",
    size: "OMPI_COMM_WORLD_SIZE",
    localRank: ["OMPI_COMM_WORLD_LOCAL_RANK"],
    localSize: ["OMPI_COMM_WORLD_LOCAL_SIZE"],
  },
  // MVAPICH2.
  {
    rank: "MV2_COMM_WORLD_RANK",
    size: "MV2_COMM_WORLD_SIZE",
    localRank: ["MV2_COMM_WORLD_LOCAL_RANK"],
    localSize: ["MV2_COMM_WORLD_LOCAL_SIZE"],
  },
  // MPICH, Intel MPI, and Cray's PALS.
  {
    rank: "PMI_RANK",
    size: "PMI_SIZE",
    localRank: ["MPI_LOCALRANKID", "PMI_LOCAL_RANK"],
    localSize: ["MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"],
  },
];

/** internal: true in a process that mpirun started, also where it runs inside of another cluster's job. */
export function isStartedByMpirun(): boolean {
  const names = ["OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "MPI_LOCALRANKID"];
  return names.some((name) => process.env[name] !== undefined);
}

// mpiexec's notice board is used once in the life of a process.
let meetingPoint: { address: string; port: number } | undefined;

/** Ranks come from the variables that mpirun sets. */
export class MPIEnvironment extends ExternalEnvironment {
  #nodeRank: number | undefined;

  /** True under mpirun with more than one process. */
  static override detect(): boolean {
    const dialect = findDialect();
    return dialect !== undefined && (optionalNumber(dialect.size) ?? 1) > 1;
  }

  /**
   * `MASTER_ADDR` (`mpirun -x MASTER_ADDR=...`), else this machine if all ranks are on it, else the host of rank zero: MPICH's mpiexec lets
   * the ranks agree on it, and Open MPI's mpirun usually runs there.
   */
  get mainAddress(): string {
    const given = process.env.MASTER_ADDR;
    if (given !== undefined) return given;
    if (this.#isOneMachine()) return "127.0.0.1";
    return hasPmi() ? this.#meetingPoint().address : this.#addressOfMpirun();
  }

  /** `MASTER_PORT`, else a free port of rank zero where the ranks can agree on one, else one derived from the number of the job. */
  get mainPort(): number {
    const given = optionalPort("MASTER_PORT");
    if (given !== undefined) return given;
    if (hasPmi()) return this.#meetingPoint().port;
    let hash = 0;
    for (const character of this.jobKey) hash = (hash * 31 + character.charCodeAt(0)) % 10_000;
    return 15_000 + hash;
  }

  override get jobKey(): string {
    return process.env.PMIX_NAMESPACE ?? process.env.OMPI_MCA_ess_base_jobid ?? process.env.PMI_JOBID ?? "";
  }

  /** Open MPI keeps a private folder on each machine for as long as the job lasts. */
  override get rendezvousFile(): string | undefined {
    const { MASTER_ADDR, MASTER_PORT, PMIX_SERVER_TMPDIR: folder } = process.env;
    if (MASTER_ADDR !== undefined || MASTER_PORT !== undefined || folder === undefined) return undefined;
    return this.#isOneMachine() && isPrivateFolder(folder) ? join(folder, "fabric-store") : undefined;
  }

  worldSize(): number {
    return requiredNumber(this.#names().size, launcher);
  }

  globalRank(): number {
    return requiredNumber(this.#names().rank, launcher);
  }

  localRank(): number {
    const names = this.#names().localRank;
    return requiredNumber(names.find((name) => process.env[name] !== undefined) ?? names[0], launcher);
  }

  /**
   * Place of this machine among the sorted host names of all ranks, once these have met. Until then ranks are taken to be dealt out machine
   * by machine, which is mpirun's default (`--map-by slot`).
   */
  nodeRank(): number {
    return this.#nodeRank ?? Math.floor(this.globalRank() / Math.max(1, this.#localSize()));
  }

  override async exchange(store: distributed.Store): Promise<void> {
    if (this.#isOneMachine()) return;
    const own = hostname();
    await store.set(`host/${this.globalRank()}`, own);
    const ranks = Array.from({ length: this.worldSize() }, (_, rank) => rank);
    const hosts = await Promise.all(ranks.map((rank) => store.getText(`host/${rank}`)));
    this.#nodeRank = [...new Set(hosts)].sort().indexOf(own);
  }

  override validateSettings(numDevices: number, numNodes: number): void {
    const hint = "Give `numNodes` the number of machines and `devices` the number of processes on each of them.";
    checkProduct(numDevices, numNodes, this.worldSize(), hint);
  }

  #isOneMachine(): boolean {
    return this.#localSize() === this.worldSize();
  }

  #localSize(): number {
    const name = this.#names().localSize.find((name) => process.env[name] !== undefined);
    return (name === undefined ? undefined : optionalNumber(name)) ?? 1;
  }

  #names(): Dialect {
    return findDialect() ?? dialects[0];
  }

  #meetingPoint(): { address: string; port: number } {
    if (meetingPoint !== undefined) return meetingPoint;
    const [address, port] = broadcastByPmi(this.globalRank(), () => `${hostname()},${findFreePort()}`).split(",");
    meetingPoint = { address, port: Number(port) };
    return meetingPoint;
  }

  #addressOfMpirun(): string {
    const address = /tcp:\/\/(\d+\.\d+\.\d+\.\d+)/.exec(process.env.OMPI_MCA_orte_hnp_uri ?? "")?.[1];
    const hint = "Add `-x MASTER_ADDR=<host of rank 0>` to the mpirun command.";
    if (address === undefined) {
      throw new ConfigurationError("Under mpirun on several machines the address of rank 0 is not known.", { hint });
    }
    if (this.globalRank() === 0 && !isOwnAddress(address)) {
      throw new ConfigurationError(`mpirun runs on ${address}, but rank 0 on another machine (${hostname()}).`, {
        hint,
      });
    }
    return address;
  }
}

function findDialect(): Dialect | undefined {
  return dialects.find(({ rank, size }) => process.env[rank] !== undefined && process.env[size] !== undefined);
}

function isOwnAddress(address: string): boolean {
  return Object.values(networkInterfaces()).some((entries) => entries?.some((entry) => entry.address === address));
}

function isPrivateFolder(path: string): boolean {
  try {
    const status = lstatSync(path);
    return status.isDirectory() && status.uid === process.getuid?.() && (status.mode & 0o077) === 0;
  } catch {
    return false;
  }
}
