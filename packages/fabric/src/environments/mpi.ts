// Ranks started by mpirun (Open MPI, or MPICH and its relatives). No MPI library is needed: the launcher's variables say enough.
import { ConfigurationError } from "@fabric-ts/torch";
import { ExternalEnvironment } from "./cluster-environment.js";
import { optionalNumber, optionalPort, requiredNumber } from "./variables.js";

const launcher = "mpirun";

interface Dialect {
  rank: string;
  size: string;
  localRank: string;
  localSize: string;
}

const dialects: readonly Dialect[] = [
  {
    rank: "OMPI_COMM_WORLD_RANK",
    size: "OMPI_COMM_WORLD_SIZE",
    localRank: "OMPI_COMM_WORLD_LOCAL_RANK",
    localSize: "OMPI_COMM_WORLD_LOCAL_SIZE",
  },
  { rank: "PMI_RANK", size: "PMI_SIZE", localRank: "MPI_LOCALRANKID", localSize: "MPI_LOCALNRANKS" },
];

/** Ranks come from the variables that mpirun sets. */
export class MPIEnvironment extends ExternalEnvironment {
  /** True under mpirun with more than one process. */
  static override detect(): boolean {
    const dialect = findDialect();
    return dialect !== undefined && (optionalNumber(dialect.size) ?? 1) > 1;
  }

  /** `MASTER_ADDR` (`mpirun -x MASTER_ADDR=...`), else this machine if all ranks are on it, else the one that mpirun runs on. */
  get mainAddress(): string {
    const given = process.env.MASTER_ADDR;
    if (given !== undefined) return given;
    if (this.#localSize() === this.worldSize()) return "127.0.0.1";
    const address = /tcp:\/\/(\d+\.\d+\.\d+\.\d+)/.exec(process.env.OMPI_MCA_orte_hnp_uri ?? "")?.[1];
    if (address !== undefined) return address;
    throw new ConfigurationError("Under mpirun on several machines the address of rank 0 is not known.", {
      hint: "Add `-x MASTER_ADDR=<host of rank 0>` to the mpirun command.",
    });
  }

  /** `MASTER_PORT`, else one derived from the number of the job, which all ranks share. */
  get mainPort(): number {
    const given = optionalPort("MASTER_PORT");
    if (given !== undefined) return given;
    const job = process.env.PMIX_NAMESPACE ?? process.env.OMPI_MCA_ess_base_jobid ?? process.env.PMI_JOBID ?? "";
    let hash = 0;
    for (const character of job) hash = (hash * 31 + character.charCodeAt(0)) % 10_000;
    return 15_000 + hash;
  }

  worldSize(): number {
    return requiredNumber(this.#names().size, launcher);
  }

  globalRank(): number {
    return requiredNumber(this.#names().rank, launcher);
  }

  localRank(): number {
    return requiredNumber(this.#names().localRank, launcher);
  }

  /** Ranks are dealt out machine by machine, mpirun's default (`--map-by slot`). */
  nodeRank(): number {
    return Math.floor(this.globalRank() / Math.max(1, this.#localSize()));
  }

  #localSize(): number {
    return optionalNumber(this.#names().localSize) ?? 1;
  }

  #names(): Dialect {
    return findDialect() ?? dialects[0];
  }
}

function findDialect(): Dialect | undefined {
  return dialects.find(({ rank, size }) => process.env[rank] !== undefined && process.env[size] !== undefined);
}
