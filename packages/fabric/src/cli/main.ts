#!/usr/bin/env node
// The `fabric` command. Each subcommand is a file of its own.
import { createRequire } from "node:module";
import { Command } from "commander";
import { doctor } from "./doctor.js";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

const program = new Command("fabric")
  .description("Fabric for TypeScript: five changed lines run a training script on any number of processes.")
  .version(version)
  .showHelpAfterError();

program
  .command("doctor")
  .description(
    "say what is installed, what is missing and how to repair it; exit code 1 when something needed is missing",
  )
  .option("--json", "print the findings as JSON")
  .action((options: { json?: boolean }) => {
    process.exitCode = doctor(options);
  });

await program.parseAsync();
