// `fabric run`: the options become environment variables, the script becomes a command, and a supervised job runs it once for each device.
import { builtins } from "@fabric-ts/torch/base";
import type { Command, Option } from "commander";
import { runLocalJob } from "../launchers/local-job.js";
import { preload, programCommand } from "../launchers/program.js";
import { processCount } from "./process-count.js";
import type { RunOptions } from "./run-command.js";
import { findProgram } from "./script.js";
import { usageError } from "./usage.js";

/** internal: runs the script to its end; the result is the exit code. */
export async function run(
  command: Command,
  script: string | undefined,
  args: readonly string[],
  options: RunOptions,
): Promise<number> {
  const fail = (message: string): never => usageError(command, message);
  if (script === undefined) return fail("Missing argument 'SCRIPT'.");
  checkTogether(command, options);
  const program = findProgram(script, options.module === true, fail);
  const numProcesses = await processCount(options, fail);
  noteMisplaced(command, script, args);
  const { execPath, debugPort, env } = process;
  const facts = {
    execPath,
    debugPort,
    env,
    execArgv: [...process.execArgv, ...program.flags],
    argv: [execPath, program.path, ...args],
  };
  const runId = builtins.crypto.randomUUID();
  const { numNodes, nodeRank, maxRestarts } = options;
  const end = await runLocalJob({
    numProcesses,
    numNodes,
    nodeRank,
    mainAddress: options.mainAddress,
    mainPort: options.mainPort,
    command: (localRank) => programCommand(localRank, preload, facts),
    env: (localRank, attempt) => ({
      ...fabricVariables(options),
      ...torchVariables({ numProcesses, numNodes, nodeRank, localRank }),
      TORCHELASTIC_RUN_ID: runId,
      TORCHELASTIC_RESTART_COUNT: String(attempt),
      TORCHELASTIC_MAX_RESTARTS: String(maxRestarts),
      TORCHELASTIC_USE_AGENT_STORE: "False",
    }),
    maxRestarts,
    output: { logDir: options.logDir, tee: options.tee, prefix: options.prefix || options.tee },
  });
  return end.code;
}

/** What `new Fabric()` reads. */
function fabricVariables({ accelerator, strategy, devices, numNodes, precision }: RunOptions) {
  return {
    LT_CLI_USED: "1",
    LT_DEVICES: devices,
    LT_NUM_NODES: String(numNodes),
    ...(accelerator === undefined ? {} : { LT_ACCELERATOR: accelerator }),
    ...(strategy === undefined ? {} : { LT_STRATEGY: strategy }),
    ...(precision === undefined ? {} : { LT_PRECISION: precision }),
  };
}

/** What torchrun sets, for scripts that read it themselves. */
function torchVariables(place: { numProcesses: number; numNodes: number; nodeRank: number; localRank: number }) {
  const { numProcesses, numNodes, nodeRank, localRank } = place;
  const rank = String(nodeRank * numProcesses + localRank);
  const worldSize = String(numProcesses * numNodes);
  return {
    RANK: rank,
    LOCAL_WORLD_SIZE: String(numProcesses),
    GROUP_RANK: String(nodeRank),
    GROUP_WORLD_SIZE: String(numNodes),
    ROLE_NAME: "default",
    ROLE_RANK: rank,
    ROLE_WORLD_SIZE: worldSize,
  };
}

function checkTogether(command: Command, options: RunOptions): void {
  const { numNodes, nodeRank } = options;
  if (nodeRank >= numNodes) {
    const range =
      numNodes === 1 ? "with one machine it is 0" : `with --num-nodes ${numNodes} it goes from 0 to ${numNodes - 1}`;
    usageError(command, `Invalid value for '--node-rank' / '--node_rank': ${nodeRank}; ${range}.`);
  }
  if (options.tee && options.logDir === undefined) {
    usageError(
      command,
      "Option '--tee' needs '--log-dir': it shows what is written there. For the ranks' names alone take '--prefix'.",
    );
  }
  if (numNodes > 1 && command.getOptionValueSource("mainAddress") === "default") {
    process.stderr.write(
      `Without --main-address the ranks of all ${numNodes} machines look for rank 0 on their own machine (${options.mainAddress}).\n`,
    );
  }
}

/** Lightning's command line takes its options behind the script as well. */
function noteMisplaced(command: Command, script: string, args: readonly string[]): void {
  if (args.includes("--")) return;
  const names = args.map((arg) => (arg.split("=", 1)[0] as string).replaceAll("_", "-"));
  const isOwn = (option: Option): boolean => names.includes(option.long ?? "");
  const isGiven = (option: Option): boolean => command.getOptionValueSource(option.attributeName()) === "cli";
  const found = command.options.find((option) => isOwn(option) && !isGiven(option))?.long;
  if (found === undefined) return;
  process.stderr.write(
    `Note: ${found} stands behind ${script} and goes to the script. For Fabric's own option put it in front: fabric run ${found} ... ${script}\n`,
  );
}
