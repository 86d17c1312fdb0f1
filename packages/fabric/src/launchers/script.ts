// Runs the same program once for each rank. The process that the user started only supervises: it is no rank, never loads LibTorch,
// never comes back from `launch()`, and ends with the job. What stands before `launch()` runs in it, too.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigurationError, processControl, setNumThreads, UsageError } from "@fabric-ts/torch";
import type { ClusterEnvironment } from "../environments/cluster-environment.js";
import { reportPhase } from "../environments/rank-channel.js";
import { suggestedMaxNumThreads } from "../utilities/cpu.js";
import { Launcher } from "./launcher.js";
import { programCommand } from "./program.js";
import { createRendezvousDirectory, removeRendezvousDirectory } from "./rendezvous-directory.js";
import { type Job, Supervisor } from "./supervisor.js";

const preload = fileURLToPath(new URL("./preload.cjs", import.meta.url));

/** Launches by running the program again, `numProcesses` times on each of `numNodes` machines. */
export class ScriptLauncher extends Launcher {
  readonly isInteractiveCompatible = false;
  readonly #environment: ClusterEnvironment;
  readonly #numProcesses: number;
  readonly #numNodes: number;
  #hasLaunched = false;

  constructor(environment: ClusterEnvironment, numProcesses: number, numNodes = 1) {
    super();
    this.#environment = environment;
    this.#numProcesses = numProcesses;
    this.#numNodes = numNodes;
  }

  /**
   * In a rank, under a cluster's own launcher and with a single process: runs `fn` here. Otherwise starts the ranks and never
   * resolves: the process ends with the first failing rank's exit code (128 + n for signal n), or 0.
   */
  async launch<T>(fn: () => T | Promise<T>): Promise<T> {
    this.#environment.validateSettings(this.#numProcesses, this.#numNodes);
    const worldSize = this.#numProcesses * this.#numNodes;
    if (this.#environment.createsProcessesExternally || worldSize === 1) {
      reportPhase("launched");
      if (this.#environment.createsProcessesExternally) limitThreads(this.#numProcesses);
      return await fn();
    }
    this.#checkMayLaunch();
    this.#hasLaunched = true;
    await this.#supervise(worldSize);
    // The process is ending; nothing of the program may go on.
    return await new Promise<never>(() => {});
  }

  #checkMayLaunch(): void {
    if (this.#hasLaunched) throw new UsageError("The launcher can only create subprocesses once.");
    const localRank = this.#environment.localRank();
    if (localRank !== 0 || process.env.FABRIC_LAUNCHER_PID !== undefined) {
      throw new UsageError(
        `Fabric attempted to launch new distributed processes with \`local_rank > 0\` or inside of a launched process (local rank ${localRank}). This should not happen.`,
        {
          hint:
            "Possible reasons: 1) LOCAL_RANK was set or removed by hand; it belongs to the launcher. " +
            "2) The cluster environment says that it does not create processes, although it does (`createsProcessesExternally`).",
        },
      );
    }
  }

  async #supervise(worldSize: number): Promise<void> {
    const graceMs = graceMilliseconds();
    const directory = createRendezvousDirectory();
    const onExit = (): void => removeRendezvousDirectory(directory);
    process.on("exit", onExit);
    const code = await new Supervisor(this.#job(worldSize, directory, graceMs)).run();
    process.exit(code);
  }

  #job(worldSize: number, directory: string, graceMs: number): Job {
    const nodeRank = this.#environment.nodeRank();
    const shared: Record<string, string | undefined> = {
      ...process.env,
      MASTER_ADDR: this.#environment.mainAddress,
      NODE_RANK: String(nodeRank),
      WORLD_SIZE: String(worldSize),
      OMP_NUM_THREADS: process.env.OMP_NUM_THREADS ?? String(suggestedMaxNumThreads(this.#numProcesses)),
      FABRIC_LAUNCHER_PID: String(process.pid),
      FABRIC_PROCESS_ADDON: processControl.processAddonPath(),
    };
    if (this.#numNodes > 1) {
      checkMeetingPoint(this.#numNodes);
      shared.MASTER_PORT = String(this.#environment.mainPort);
    } else shared.FABRIC_RENDEZVOUS_FILE = join(directory, "store");
    const ranks: Job["ranks"] = [];
    for (let localRank = 0; localRank < this.#numProcesses; localRank++) {
      ranks.push({
        rank: nodeRank * this.#numProcesses + localRank,
        command: programCommand(localRank, preload),
        env: { ...shared, LOCAL_RANK: String(localRank) },
      });
    }
    return { ranks, graceMs };
  }
}

// Ranks of ours get the variable before they start, which is better: some libraries below the engine read it once, early.
function limitThreads(numProcesses: number): void {
  if (process.env.OMP_NUM_THREADS !== undefined) return;
  const threads = suggestedMaxNumThreads(numProcesses);
  process.env.OMP_NUM_THREADS = String(threads);
  setNumThreads(threads);
}

// A port of our own choice would be known on this machine only.
function checkMeetingPoint(numNodes: number): void {
  const unset = ["MASTER_ADDR", "MASTER_PORT"].filter((name) => process.env[name] === undefined);
  if (process.env.NODE_RANK === undefined && process.env.GROUP_RANK === undefined) unset.push("NODE_RANK");
  if (unset.length === 0) return;
  throw new ConfigurationError(`With ${numNodes} machines, ${unset.join(" and ")} must be set on each of them.`, {
    hint: "Set MASTER_ADDR and MASTER_PORT to the same values everywhere (a host and a free port of machine 0) and NODE_RANK to 0, 1, ...",
  });
}

function graceMilliseconds(): number {
  const text = process.env.FABRIC_GRACE_SECONDS;
  if (text === undefined || text === "") return 3000;
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds >= 0) return Math.round(seconds * 1000);
  throw new ConfigurationError(`FABRIC_GRACE_SECONDS is ${JSON.stringify(text)}, which is no number of seconds.`, {
    hint: "Set it to how long the ranks may take to end after Ctrl-C or SIGTERM, such as 30, or unset it.",
  });
}
