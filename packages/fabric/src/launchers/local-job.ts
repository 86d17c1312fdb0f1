// The ranks of this machine as one job: what they find in their environment, where they meet, and new attempts after a failure.
// Whoever starts ranks (the script launcher, the function launcher, `fabric run`) does it through here.
import { join } from "node:path";
import { ConfigurationError, processControl } from "@fabric-ts/torch/base";
import { suggestedMaxNumThreads } from "../utilities/cpu.js";
import { JobOutput, type OutputOptions } from "./job-output.js";
import { noteUnknownAddress } from "./main-address.js";
import type { Command } from "./program.js";
import { createRendezvousDirectory, removeRendezvousDirectory } from "./rendezvous-directory.js";
import { type JobEnd, reportOf, Supervisor } from "./supervisor.js";

/** Variables to set; those that are undefined are taken away. */
type Variables = Record<string, string | undefined>;

/** internal: what is to be run on this machine. */
export interface LocalJob {
  /** Ranks on this machine. */
  numProcesses: number;
  /** Machines in all, each of which starts as many ranks. */
  numNodes: number;
  /** Number of this machine. */
  nodeRank: number;
  /** Where the ranks of several machines meet. */
  mainAddress: string;
  /** The port there; needed with several machines only. */
  mainPort: number | undefined;
  /** What the rank with this number on the machine runs. */
  command: (localRank: number) => Command;
  /** More variables for a rank. */
  env?: (localRank: number, attempt: number) => Variables;
  /** How often all ranks are started again after one has failed (default never). */
  maxRestarts?: number;
  /** Where their output goes (default: to this process' own output, as it is). */
  output?: OutputOptions;
  /** Whether the first rank gets standard input (default true). */
  takesInput?: boolean;
  /** Whether failures are written to standard error (default true). */
  reports?: boolean;
}

/** internal: runs it to its end. */
export async function runLocalJob(job: LocalJob): Promise<JobEnd> {
  const { maxRestarts = 0, reports = true } = job;
  const graceMs = graceMilliseconds();
  const ranks = Array.from({ length: job.numProcesses }, (_, i) => job.nodeRank * job.numProcesses + i);
  const commands = ranks.map((_, localRank) => job.command(localRank));
  const output = new JobOutput(job.output);
  output.open(ranks);
  if (job.numNodes > 1) void noteUnknownAddress(job.mainAddress, (text) => output.say(text));
  const directory = createRendezvousDirectory();
  const onExit = (): void => removeRendezvousDirectory(directory);
  process.on("exit", onExit);
  try {
    for (let attempt = 0; ; attempt++) {
      const specs = ranks.map((rank, localRank) => ({
        rank,
        command: commands[localRank] as Command,
        env: environmentOf(job, localRank, attempt, directory),
      }));
      const supervisor = new Supervisor({ ranks: specs, graceMs, output, takesInput: job.takesInput ?? true });
      const isLast = ({ failed }: JobEnd): boolean =>
        failed === null || attempt === maxRestarts || supervisor.isInterrupted;
      const end = await supervisor.run((ended) => {
        if (reports) output.say(reportOf(ended));
        if (!isLast(ended)) output.say(restartMessage(ranks, attempt + 1, maxRestarts));
      });
      if (isLast(end)) return end;
      for (const rank of ranks) output.note(rank, `--- restart ${attempt + 1} of ${maxRestarts} ---\n`);
    }
  } finally {
    output.close();
    process.off("exit", onExit);
    removeRendezvousDirectory(directory);
  }
}

function environmentOf(job: LocalJob, localRank: number, attempt: number, directory: string): Variables {
  const { numProcesses, numNodes, nodeRank, mainAddress, mainPort } = job;
  return {
    ...process.env,
    MASTER_ADDR: mainAddress,
    ...(mainPort === undefined ? {} : { MASTER_PORT: String(mainPort) }),
    NODE_RANK: String(nodeRank),
    LOCAL_RANK: String(localRank),
    WORLD_SIZE: String(numProcesses * numNodes),
    OMP_NUM_THREADS: process.env.OMP_NUM_THREADS ?? String(suggestedMaxNumThreads(numProcesses)),
    FABRIC_LAUNCHER_PID: String(process.pid),
    FABRIC_PROCESS_ADDON: processControl.processAddonPath(),
    // A file of its own for each attempt: nobody meets those of an earlier one.
    FABRIC_RENDEZVOUS_FILE: numNodes > 1 ? undefined : join(directory, `store-${attempt}`),
    // Under `node --test` this process reports in a binary form; ranks that did so through the same pipe would make Node's runner spin for ever.
    NODE_TEST_CONTEXT: undefined,
    ...job.env?.(localRank, attempt),
  };
}

function restartMessage(ranks: readonly number[], restart: number, maxRestarts: number): string {
  const which = ranks.length === 1 ? "The rank is" : `All ${ranks.length} ranks are`;
  return `${which} started again (restart ${restart} of ${maxRestarts}).\n`;
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
