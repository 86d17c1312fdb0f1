// Ranks started by jsrun on a cluster with IBM's LSF.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { ConfigurationError } from "@fabric-ts/torch/base";
import { checkProduct, ExternalEnvironment } from "./cluster-environment.js";
import { optionalNumber, optionalPort } from "./variables.js";

/** Ranks come from the variables that jsrun sets, hosts from LSF's rank file. */
export class LSFEnvironment extends ExternalEnvironment {
  readonly mainAddress: string;
  readonly mainPort: number;
  readonly #hosts: string[];

  constructor() {
    super();
    this.#hosts = [...new Set(readHosts())];
    this.mainAddress = this.#hosts[0];
    this.mainPort = choosePort();
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

  /** Place of this machine among the hosts of the rank file. */
  nodeRank(): number {
    const own = hostname();
    const exact = this.#hosts.indexOf(own);
    const found = exact >= 0 ? exact : this.#hosts.map(shortName).indexOf(shortName(own));
    if (found >= 0) return found;
    throw new ConfigurationError(
      `This machine, ${own}, is not among the hosts in LSB_DJOB_RANKFILE: ${this.#hosts.join(", ")}.`,
      { hint: "Start the program with `jsrun`, which runs it on those hosts." },
    );
  }

  override get jobKey(): string {
    return process.env.LSB_JOBID ?? "";
  }

  override validateSettings(numDevices: number, numNodes: number): void {
    const hint = "Give `numNodes` the number of hosts and `devices` the number of jsrun's tasks on each of them.";
    checkProduct(numDevices, numNodes, this.worldSize(), hint);
  }
}

/** Some lists have the domain and some do not. */
function shortName(host: string): string {
  return /^[\d.]+$/.test(host) ? host : host.split(".", 1)[0];
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
  const hosts = readRankFile(path)
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .slice(1);
  if (hosts.length > 0) return hosts;
  throw new ConfigurationError(`The rank file ${path} names no computing host.`, {
    hint: "Its first line is the launch node; at least one more is needed.",
  });
}

function readRankFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ConfigurationError(`The rank file of \`LSB_DJOB_RANKFILE\` cannot be read: ${(cause as Error).message}`, {
      hint: "LSF writes it for each job; run the program in one.",
      cause,
    });
  }
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
