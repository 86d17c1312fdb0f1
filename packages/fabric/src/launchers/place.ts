// Where this process stands: a rank already, or the one that has to start this machine's ranks.
import { setNumThreads } from "@fabric-ts/torch";
import { ConfigurationError, UsageError } from "@fabric-ts/torch/base";
import type { ClusterEnvironment } from "../environments/cluster-environment.js";
import { reportPhase } from "../environments/rank-channel.js";
import { suggestedMaxNumThreads } from "../utilities/cpu.js";

/** internal: true where no process is to be made: they exist, or one is enough. Gets this one ready to be a rank. */
export function runsInPlace(environment: ClusterEnvironment, numProcesses: number, numNodes: number): boolean {
  const areThere = environment.createsProcessesExternally;
  if (!areThere && numProcesses * numNodes > 1) return false;
  reportPhase("launched");
  if (areThere) limitThreads(numProcesses);
  return true;
}

/** internal: refuses to start ranks from a rank. */
export function checkIsNoRank(environment: ClusterEnvironment): void {
  const localRank = environment.localRank();
  if (localRank === 0 && process.env.FABRIC_LAUNCHER_PID === undefined) return;
  throw new UsageError(
    `Fabric attempted to launch new distributed processes with \`local_rank > 0\` or inside of a launched process (local rank ${localRank}). This should not happen.`,
    {
      hint:
        "Possible reasons: 1) LOCAL_RANK was set or removed by hand; it belongs to the launcher. " +
        "2) The cluster environment says that it does not create processes, although it does (`createsProcessesExternally`).",
    },
  );
}

/** internal: this machine's part of the run. */
export function placeOf(environment: ClusterEnvironment, numProcesses: number, numNodes: number) {
  if (numNodes > 1) checkMeetingPoint(numNodes);
  return {
    numProcesses,
    numNodes,
    nodeRank: environment.nodeRank(),
    mainAddress: environment.mainAddress,
    mainPort: numNodes > 1 ? environment.mainPort : undefined,
  };
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
