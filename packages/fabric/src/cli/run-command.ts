// The options of `fabric run`: their names, defaults, choices, and what is said about wrong values.

import { messages } from "@fabric-ts/torch/base";
import { Command, Option } from "commander";
import { precisionChoices } from "../precision/names.js";
import { usageError, withUsage } from "./usage.js";

/** internal: the options as they arrive. */
export interface RunOptions {
  accelerator?: string;
  strategy?: string;
  devices: string;
  numNodes: number;
  nodeRank: number;
  mainAddress: string;
  mainPort: number;
  precision?: string;
  module?: boolean;
  maxRestarts: number;
  logDir?: string;
  tee?: boolean;
  prefix?: boolean;
}

const accelerators = ["cpu", "gpu", "cuda", "mps", "tpu", "auto"];
const strategies = [
  "ddp",
  "ddp_find_unused_parameters_true",
  "dp",
  "fsdp",
  "deepspeed",
  "deepspeed_stage_1",
  "deepspeed_stage_2",
  "deepspeed_stage_3",
];

/** internal: the subcommand. */
export function runCommand(): Command {
  const command = withUsage(new Command("run"));
  const oneOf =
    (name: string, choices: readonly string[]) =>
    (value: string): string => {
      if (choices.includes(value)) return value;
      const meant = messages.closestName(value, choices);
      const list = choices.map((choice) => `'${choice}'`).join(", ");
      const hint = meant === undefined ? "" : ` Did you mean '${meant}'?`;
      return usageError(command, `Invalid value for '--${name}': '${value}' is not one of ${list}.${hint}`);
    };
  const integer =
    (names: string, least: number, most = Number.MAX_SAFE_INTEGER) =>
    (value: string): number => {
      if (!/^[+-]?\d+$/.test(value)) {
        return usageError(command, `Invalid value for ${names}: '${value}' is not a valid integer.`);
      }
      const number = Number(value);
      if (number >= least && number <= most) return number;
      const range = most === Number.MAX_SAFE_INTEGER ? `x>=${least}` : `${least}<=x<=${most}`;
      return usageError(command, `Invalid value for ${names}: ${value} is not in the range ${range}.`);
    };
  const choice = (flags: string, text: string, name: string, choices: readonly string[]): Option =>
    new Option(flags, `${text}: ${choices.join(", ")}`).argParser(oneOf(name, choices));

  return (
    command
      .usage("[OPTIONS] SCRIPT [SCRIPT_ARGS]...")
      .summary("run a script in as many processes as there are devices")
      .description(
        "Runs SCRIPT, JavaScript or TypeScript, in as many processes as --devices says, and looks after them: the first failure ends all " +
          "of them, with one message and the failing rank's exit code. In the script `new Fabric()` takes its options from here. " +
          "What stands behind SCRIPT goes to the script.",
      )
      .argument("[SCRIPT]", "the file to run")
      .argument("[SCRIPT_ARGS...]", "its arguments")
      .addOption(choice("--accelerator <NAME>", "the hardware to run on", "accelerator", accelerators))
      .addOption(choice("--strategy <NAME>", "how several devices work together", "strategy", strategies))
      .addOption(
        new Option(
          "--devices <N>",
          "how many devices on each machine, or which: a number, 'auto', '-1' for all GPUs, ids such as '0,2'",
        ).default("1"),
      )
      .addOption(
        new Option("--num_nodes, --num-nodes <N>", "number of machines")
          .default(1)
          .argParser(integer("'--num-nodes' / '--num_nodes'", 1)),
      )
      .addOption(
        new Option("--node_rank, --node-rank <K>", "number of this machine, from 0 to --num-nodes minus 1")
          .default(0)
          .argParser(integer("'--node-rank' / '--node_rank'", 0)),
      )
      .addOption(
        new Option("--main_address, --main-address <HOST>", "host name or address of machine 0").default("127.0.0.1"),
      )
      .addOption(
        new Option("--main_port, --main-port <PORT>", "port on machine 0 at which the ranks of several machines meet")
          .default(29400)
          .argParser(integer("'--main-port' / '--main_port'", 1, 65535)),
      )
      .addOption(choice("--precision <NAME>", "how numbers are represented", "precision", precisionChoices))
      .addOption(
        new Option(
          "--max-restarts <N>",
          "start all ranks again, up to N times, after one has failed; TORCHELASTIC_RESTART_COUNT tells them how often that was",
        )
          .default(0)
          .argParser(integer("'--max-restarts'", 0)),
      )
      .option("--log-dir <DIR>", "write the output of each rank to DIR/rank-<N>.log instead of the console")
      .option("--tee", "show it on the console as well, with the rank before each line; needs --log-dir")
      .option("--prefix", "on the console, put the rank before each line")
      .option("-m, --module", "SCRIPT is the name of an installed package, or of a program that one brings")
      .addHelpText(
        "after",
        "\nExamples:\n" +
          "  fabric run --accelerator cpu --devices 2 train.js --lr 0.1\n" +
          "  fabric run --devices 4 --precision bf16-mixed train.ts\n" +
          "  fabric run --devices 2 --num-nodes 2 --node-rank 1 --main-address 10.0.0.1 train.js\n" +
          "  fabric run --devices 2 --max-restarts 3 --log-dir logs --tee train.js",
      )
      // Everything from SCRIPT on is the script's own.
      .passThroughOptions()
      .action(async (script: string | undefined, args: string[], options: RunOptions) => {
        const { run } = await import("./run.js");
        process.exit(await run(command, script, args, options));
      })
  );
}
