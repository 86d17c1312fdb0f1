#!/usr/bin/env node
// The `fabric` command. Each subcommand is a file of its own, loaded when it is asked for.
import { createRequire } from "node:module";
import { FabricError } from "@fabric-ts/torch/base";
import { Command } from "commander";
import { runCommand } from "./run-command.js";
import { withUsage } from "./usage.js";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

const program = withUsage(new Command("fabric"))
  .usage("[OPTIONS] COMMAND [ARGS]...")
  .description("Fabric for TypeScript: five changed lines run a training script on any number of processes.")
  .version(version)
  .enablePositionalOptions();

program.addCommand(runCommand());

const consolidate = withUsage(new Command("consolidate"))
  .usage("[OPTIONS] CHECKPOINT_FOLDER")
  .description("convert a checkpoint folder, written by a sharded strategy, to one file")
  .argument("<CHECKPOINT_FOLDER>", "the folder")
  .option(
    "--output-file, --output_file <PATH>",
    "where to write the file (default: the folder's name with '.consolidated' behind it)",
  )
  .action(async (folder: string, options: { output_file?: string }) => {
    const { consolidate: run } = await import("./consolidate.js");
    await run(consolidate, folder, options.output_file);
  });
program.addCommand(consolidate);

const doctor = withUsage(new Command("doctor"))
  .usage("[OPTIONS]")
  .description(
    "say what is installed, what is missing and how to repair it; exit code 1 when something needed is missing",
  )
  .option("--json", "print the findings as JSON")
  .action(async (options: { json?: boolean }) => {
    const { doctor: run } = await import("./doctor.js");
    process.exitCode = run(options);
  });
program.addCommand(doctor);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof FabricError)) throw error;
  process.stderr.write(`Error: ${error.message}\n`);
  process.exitCode = 1;
}
