// Mistakes on the command line: the usage, where to find more, and one sentence, with exit code 2.
import type { Command, CommanderError, Option } from "commander";

/** internal: makes a command end in that way. */
export function withUsage(command: Command): Command {
  // Both spellings of an option are accepted, and one is enough to see.
  const help = { optionTerm: ({ flags }: Option) => flags.replace(/^--[\w-]+, /, ""), subcommandTerm: nameOf };
  return command
    .configureHelp(help)
    .configureOutput({ outputError: () => {} })
    .exitOverride((error) => {
      if (error.exitCode === 0) process.exit(0);
      // Commander has shown the help.
      if (!error.code.startsWith("commander.help")) process.stderr.write(`${usageText(command, sentence(error))}\n`);
      process.exit(2);
    });
}

/** internal: ends the process with such a mistake. */
export function usageError(command: Command, message: string): never {
  command.error(message, { exitCode: 2, code: "fabric.usage" });
}

function usageText(command: Command, message: string): string {
  const name = pathOf(command);
  return `Usage: ${name} ${command.usage()}\nTry '${name} --help' for help.\n\nError: ${message}`;
}

function nameOf(command: Command): string {
  return command.name();
}

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

function sentence({ code, message }: CommanderError): string {
  const text = message.replace(/^error: /, "").replace("\n", " ");
  const option = /'(?:.*, )?(--?[\w-]+)/.exec(text)?.[1] ?? "";
  switch (code) {
    case "commander.optionMissingArgument":
      return `Option '${option}' requires an argument.`;
    case "commander.unknownOption":
      return `No such option: ${option}. ${/\((Did you mean .*)\)/.exec(text)?.[1] ?? ""}`.trim();
    default: {
      const end = /[.?)]$/.test(text) ? "" : ".";
      return `${text.charAt(0).toUpperCase()}${text.slice(1)}${end}`;
    }
  }
}
