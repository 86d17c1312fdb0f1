// The command line of the examples: what there is, and what each option is by default.
import { relative } from "node:path";
import { parseArgs } from "node:util";

type Value = number | string | boolean;

/**
 * Reads `--name value` for the names in `defaults`: numbers where the default is one, otherwise text; for `false`, `--name` alone.
 * A mistake or `--help` ends the program with the list of options. `command` is what the user typed before them.
 *
 *     const { devices, epochs } = readOptions({ devices: 2, epochs: 3 });
 */
export function readOptions<T extends Record<string, Value>>(defaults: T, command = thisCommand()): T {
  const names = Object.entries(defaults);
  const words = names.map(([name, value]) => (value === false ? `[--${name}]` : `[--${name} ${value || "TEXT"}]`));
  const usage = `Usage: ${command} ${words.join(" ")}`;
  const end = (code: number, message = ""): never => {
    process.stderr.write(`${message}${usage}\n`);
    process.exit(code);
  };
  const options = Object.fromEntries(
    names.map(([name, value]) => [name, { type: value === false ? ("boolean" as const) : ("string" as const) }]),
  );
  let given: Record<string, unknown> = {};
  try {
    given = parseArgs({ options: { ...options, help: { type: "boolean" } } }).values;
  } catch (error) {
    end(2, `${(error as Error).message}\n`);
  }
  if (given.help) end(0);
  const read = names.map(([name, fallback]) => {
    const value = given[name] ?? fallback;
    if (typeof fallback !== "number") return [name, value];
    const number = Number(value);
    const isGood = Number.isInteger(fallback) ? Number.isInteger(number) && number >= 0 : Number.isFinite(number);
    if (value === "" || !isGood) {
      end(2, `--${name} has to be a ${Number.isInteger(fallback) ? "whole " : ""}number, but is "${value}".\n`);
    }
    return [name, number];
  });
  return Object.fromEntries(read) as T;
}

function thisCommand(): string {
  return `npx tsx ${relative("", process.argv[1] ?? "")}`;
}
