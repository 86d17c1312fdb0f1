// Ranks started by SLURM's srun.
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { ConfigurationError, UsageError } from "@fabric-ts/torch";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import { ExternalEnvironment } from "./cluster-environment.js";
import { optionalNumber, optionalPort, requiredNumber } from "./variables.js";

/** Everything comes from the variables that srun sets. */
export class SLURMEnvironment extends ExternalEnvironment {
  /** Whether a job that is about to run out of time is put in the queue again. Kept for those who act on it. */
  readonly autoRequeue: boolean;
  /** The signal that announces it. */
  readonly requeueSignal: NodeJS.Signals;

  constructor(autoRequeue = true, requeueSignal: NodeJS.Signals = "SIGUSR1") {
    super();
    this.autoRequeue = autoRequeue;
    this.requeueSignal = requeueSignal;
    warnIfSrunUnused();
    checkTasks();
  }

  static override detect(): boolean {
    warnIfSrunUnused();
    return process.env.SLURM_NTASKS !== undefined && !isInteractive();
  }

  /** `MASTER_ADDR`, else the first host of the job's node list, which is then stored there. */
  get mainAddress(): string {
    process.env.MASTER_ADDR ??= firstHost(process.env.SLURM_NODELIST ?? "127.0.0.1");
    return process.env.MASTER_ADDR;
  }

  /** `MASTER_PORT`, else 15000 + the last four digits of the job's number, which is then stored there. */
  get mainPort(): number {
    let port = optionalPort("MASTER_PORT");
    if (port === undefined) {
      const job = process.env.SLURM_JOB_ID;
      port = job === undefined ? 12910 : Number(job.slice(-4)) + 15000;
      process.env.MASTER_PORT = String(port);
    }
    return port;
  }

  worldSize(): number {
    return requiredNumber("SLURM_NTASKS", "srun");
  }

  globalRank(): number {
    return requiredNumber("SLURM_PROCID", "srun");
  }

  localRank(): number {
    return requiredNumber("SLURM_LOCALID", "srun");
  }

  nodeRank(): number {
    return requiredNumber("SLURM_NODEID", "srun");
  }

  override get attempt(): string {
    return process.env.SLURM_RESTART_COUNT ?? "0";
  }

  override validateSettings(numDevices: number, numNodes: number): void {
    if (isInteractive()) return;
    const tasks = optionalNumber("SLURM_NTASKS_PER_NODE");
    if (tasks !== undefined && tasks !== numDevices) {
      throw new ConfigurationError(
        `You set \`devices: ${numDevices}\` in Fabric, but the number of tasks per node configured in SLURM \`--ntasks-per-node=${tasks}\` does not match.`,
        { hint: `Set \`devices: ${tasks}\`.` },
      );
    }
    const nodes = optionalNumber("SLURM_NNODES");
    if (nodes !== undefined && nodes !== numNodes) {
      throw new ConfigurationError(
        `You set \`numNodes: ${numNodes}\` in Fabric, but the number of nodes configured in SLURM \`--nodes=${nodes}\` does not match.`,
        { hint: `Set \`numNodes: ${nodes}\`.` },
      );
    }
  }

  /** The job's name, if there is a job. */
  static jobName(): string | undefined {
    return process.env.SLURM_JOB_NAME;
  }

  /** The job's number; undefined in an interactive session. */
  static jobId(): number | undefined {
    const text = process.env.SLURM_JOB_ID;
    return isInteractive() || text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
  }
}

/** internal: the first host of a node list such as `alpha, host[5-9]`. */
export function firstHost(nodes: string): string {
  const host = /^\s*(?:[^\s,[]|\[[^\]]*\])*/.exec(nodes)?.[0].trim() ?? "";
  return host.replace(/\[\s*([^\],\s-]*)[^\]]*\]/g, "$1");
}

function isInteractive(): boolean {
  const name = process.env.SLURM_JOB_NAME;
  return name === "bash" || name === "interactive";
}

function checkTasks(): void {
  const tasks = optionalNumber("SLURM_NTASKS") ?? 1;
  if (tasks <= 1 || process.env.SLURM_NTASKS_PER_NODE !== undefined) return;
  throw new UsageError(`You set \`--ntasks=${tasks}\` in your SLURM bash script, but this variable is not supported.`, {
    hint: `Use \`--ntasks-per-node=${tasks}\` instead.`,
  });
}

function warnIfSrunUnused(): void {
  if (process.env.SLURM_NTASKS !== undefined || process.platform === "win32" || !isOnPath("srun")) return;
  const command = ["srun", "node", ...process.argv.slice(1)].join(" ").slice(0, 64);
  rankZeroWarn(
    `The \`srun\` command is available on your system but is not used. HINT: If your intention is to run Fabric on SLURM, prepend your node command with \`srun\` like so: ${command} ...`,
    "PossibleUserWarning",
  );
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return statSync(join(folder, program)).isFile();
    } catch {
      return false;
    }
  });
}
