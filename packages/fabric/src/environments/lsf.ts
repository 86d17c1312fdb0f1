// Ranks started by jsrun on a cluster with IBM's LSF.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { ConfigurationError } from "@fabric-ts/torch";
import { ExternalEnvironment } from "./cluster-environment.js";
import { optionalNumber, optionalPort } from "./variables.js";

/** Ranks come from the variables that jsrun sets, hosts from LSF's rank file. */
export class LSFEnvironment extends ExternalEnvironment {
  readonly mainAddress: string;
  readonly mainPort: number;
  readonly #nodeRank: number;

  constructor() {
    super();
    const hosts = readHosts();
    this.mainAddress = hosts[0];
    this.mainPort = choosePort();
    this.#nodeRank = Math.max(0, [...new Set(hosts)].indexOf(hostname()));
    process.env.MASTER_ADDR = this.mainAddress;
    process.env.MASTER_PORT = String(this.mainPort);
  }

  static override detect(): boolean {
    const needed = ["LSB_JOBID", "LSB_DJOB_RANKFILE", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_SIZE"];
    return needed.every((name) => process.env[name] !== undefined);
  }

  worldSize(): number {
    return jsrunNumber("JSM_NAMESPACE_SIZE", "world size");
  }

  globalRank(): number {
    return jsrunNumber("JSM_NAMESPACE_RANK", "global rank");
  }

  localRank(): number {
    return jsrunNumber("JSM_NAMESPACE_LOCAL_RANK", "local rank");
  }

  nodeRank(): number {
    return this.#nodeRank;
  }
}

function jsrunNumber(name: string, what: string): number {
  const value = optionalNumber(name);
  if (value !== undefined) return value;
  throw new ConfigurationError(`Cannot determine ${what}. Environment variable \`${name}\` not found.`, {
    hint: "Make sure you run your executable with `jsrun`.",
  });
}

// The first line is the node that launches; it does not compute.
function readHosts(): string[] {
  const path = process.env.LSB_DJOB_RANKFILE;
  if (path === undefined) {
    throw new ConfigurationError("Did not find the environment variable `LSB_DJOB_RANKFILE`.", {
      hint: "Run the program in an LSF job.",
    });
  }
  if (path === "") throw new ConfigurationError("The path in the environment variable `LSB_DJOB_RANKFILE` is empty.");
  const hosts = readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .slice(1);
  if (hosts.length > 0) return hosts;
  throw new ConfigurationError(`The rank file ${path} names no computing host.`, {
    hint: "Its first line is the launch node; at least one more is needed.",
  });
}

function choosePort(): number {
  const given = optionalPort("MASTER_PORT");
  if (given !== undefined) return given;
  const job = optionalNumber("LSB_JOBID");
  if (job !== undefined) return (job % 1000) + 10000;
  throw new ConfigurationError("Could not find job id in environment variable LSB_JOBID.", {
    hint: "Run the program in an LSF job, or set MASTER_PORT.",
  });
}
