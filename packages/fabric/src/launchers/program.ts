// How the running program is started again: same interpreter, same flags and loaders, same script, same arguments.
import { fileURLToPath } from "node:url";
import { UsageError } from "@fabric-ts/torch/base";

/** internal: the file that runs first in every rank. */
export const preload = fileURLToPath(new URL("./preload.cjs", import.meta.url));

/** internal: a command line. */
export interface Command {
  /** The interpreter. */
  file: string;
  /** Its flags, the script and the script's arguments. */
  args: string[];
}

/** internal: what is needed of `process`, so that another program can be started, and tests can give their own. */
export type ProcessFacts = Pick<NodeJS.Process, "execPath" | "execArgv" | "argv" | "debugPort"> & {
  env: Record<string, string | undefined>;
};

/**
 * internal: the command that runs this program once more as the rank `localRank`, with `preload` required before anything else.
 * Throws a `UsageError` in a REPL and for a program read from standard input, which cannot be run again.
 */
export function programCommand(localRank: number, preload: string, facts: ProcessFacts = process): Command {
  const flags = ["--require", preload, ...facts.execArgv];
  const inspectorPort = debugPort(localRank, facts);
  if (inspectorPort !== undefined) flags.push(`--inspect-port=${inspectorPort}`);
  const isInline = facts.execArgv.some((flag) => /^(-e|-p|-pe|--eval|--print)(=|$)/.test(flag));
  if (isInline) return { file: facts.execPath, args: [...flags, ...argumentsAfter(facts.argv.slice(1))] };
  const script = facts.argv[1];
  if (script === undefined || script === "-") {
    throw new UsageError(
      "`fabric.launch()` cannot start more processes from a REPL or a program read from standard input.",
      {
        hint: 'Save the program to a file and run `node <file>`; or name a function, with `strategy: "ddp_spawn"`: `fabric.launch({ module: "./train.js", export: "train" })`; or use one device.',
      },
    );
  }
  return { file: facts.execPath, args: [...flags, script, ...facts.argv.slice(2)] };
}

// Arguments of `node -e` follow a "--" so that none is taken for a flag of node.
function argumentsAfter(args: readonly string[]): string[] {
  return args.length === 0 ? [] : ["--", ...args];
}

// The launcher's inspector keeps its port, each rank gets the next ones.
function debugPort(localRank: number, facts: ProcessFacts): string | undefined {
  const pattern =
    /--(?:inspect(?:-brk|-port|-wait)?|debug-port)(?:=(?:(\[[^\]]*\]|[^\s:]*[^\s:\d][^\s:]*)(?::|(?=\s|$)))?(\d+)?)?(?=\s|$)/;
  const match = pattern.exec([...facts.execArgv, facts.env.NODE_OPTIONS ?? ""].join(" "));
  if (match === null) return undefined;
  const port = match[2] === "0" ? 0 : facts.debugPort + 1 + localRank;
  return match[1] ? `${match[1]}:${port}` : String(port);
}
