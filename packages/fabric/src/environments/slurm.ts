// Ranks started by SLURM's srun.
import { accessSync, constants, statSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { delimiter, join } from "node:path";
import { ConfigurationError, UsageError } from "@fabric-ts/torch/base";
import { checkOptions, describe } from "../utilities/describe.js";
import { rankZeroWarn } from "../utilities/rank-zero.js";
import { checkProduct, ExternalEnvironment } from "./cluster-environment.js";
import { isStartedByMpirun } from "./mpi.js";
import { requeueJob } from "./slurm-requeue.js";
import { optionalNumber, optionalPort, requiredNumber } from "./variables.js";

/** Options of `SLURMEnvironment`. */
export interface SLURMEnvironmentOptions {
  /** `fabric.requeueOnSignal` puts the job back into the queue when SLURM is about to end it (default true). */
  autoRequeue?: boolean | undefined;
  /** The signal that announces the end, as in `sbatch --signal=USR1@120` (default `"SIGUSR1"`; on Windows there is none). */
  requeueSignal?: NodeJS.Signals | undefined;
}

/** Everything comes from the variables that srun sets. */
export class SLURMEnvironment extends ExternalEnvironment {
  /** Whether a job that is about to be ended is put back into the queue. */
  readonly autoRequeue: boolean;
  /** The signal that announces it. */
  readonly requeueSignal: NodeJS.Signals | undefined;

  constructor(options: SLURMEnvironmentOptions = {}) {
    super();
    checkOptions("SLURMEnvironment", options, ["autoRequeue", "requeueSignal"]);
    this.autoRequeue = options.autoRequeue ?? true;
    this.requeueSignal = checkSignal(options.requeueSignal ?? (process.platform === "win32" ? undefined : "SIGUSR1"));
    warnIfSrunUnused();
    checkTasks();
  }

  /** True in a job with tasks, unless its name says that somebody works in it by hand, or mpirun started the ranks. */
  static override detect(): boolean {
    warnIfSrunUnused();
    return process.env.SLURM_NTASKS !== undefined && !isInteractive() && !isStartedByMpirun();
  }

  /** `MASTER_ADDR`, else the first host of the step's or the job's node list, which is then stored there. */
  get mainAddress(): string {
    const { SLURM_STEP_NODELIST, SLURM_NODELIST } = process.env;
    process.env.MASTER_ADDR ??= firstHost(SLURM_STEP_NODELIST ?? SLURM_NODELIST ?? "127.0.0.1");
    return process.env.MASTER_ADDR;
  }

  /** `MASTER_PORT`, else 15000 + the last four digits of the job's number, which is then stored there. */
  get mainPort(): number {
    let port = optionalPort("MASTER_PORT");
    if (port === undefined) {
      const job = optionalNumber("SLURM_JOB_ID");
      port = job === undefined ? 12910 : (job % 10_000) + 15_000;
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

  override get jobKey(): string {
    return `${process.env.SLURM_JOB_ID}.${process.env.SLURM_STEP_ID}`;
  }

  override get endSignal(): NodeJS.Signals | undefined {
    return this.autoRequeue ? this.requeueSignal : undefined;
  }

  override async requeue(): Promise<boolean> {
    return await requeueJob();
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
    const all = optionalNumber("SLURM_NTASKS");
    if (tasks !== undefined || all === undefined) return;
    checkProduct(numDevices, numNodes, all, `Ask for the tasks: \`--ntasks-per-node=${numDevices}\`.`);
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

function checkSignal(signal: unknown): NodeJS.Signals | undefined {
  if (signal === undefined) return undefined;
  const isSignal = typeof signal === "string" && signal in osConstants.signals;
  if (isSignal && signal !== "SIGKILL" && signal !== "SIGSTOP") return signal as NodeJS.Signals;
  throw new ConfigurationError(`\`requeueSignal\` is ${describe(signal)}.`, {
    hint: 'Give the name of a signal that a process can catch, such as "SIGUSR1".',
  });
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
  // Others have started this process, and whoever meant to use srun has read it there already.
  if (process.env.FABRIC_LAUNCHER_PID !== undefined || isStartedByMpirun()) return;
  const runner = process.execArgv.some((flag) => /\btsx\b/.test(flag)) ? "npx tsx" : "node";
  const command = ["srun", runner, ...process.argv.slice(1)].join(" ").slice(0, 64);
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
