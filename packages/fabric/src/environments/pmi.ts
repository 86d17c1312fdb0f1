// The notice board of MPICH's mpiexec and its relatives: version 1 of their process management interface, lines of text on a socket that
// each rank inherits. It is all that those ranks have in common: no variable names the job or the machine of rank zero.
import { readSync, writeSync } from "node:fs";
import { ConfigurationError } from "@fabric-ts/torch/base";

/** internal: true where there is a notice board. */
export function hasPmi(): boolean {
  return /^\d+$/.test(process.env.PMI_FD ?? "");
}

/**
 * internal: the value that rank zero makes, on every rank. All ranks have to call it, once, and wait for each other with blocked JavaScript
 * threads. The value must not contain blanks.
 */
export function broadcastByPmi(rank: number, makeValue: () => string): string {
  try {
    ask("cmd=init pmi_version=1 pmi_subversion=1", "response_to_init");
    const board = field(ask("cmd=get_my_kvsname", "my_kvsname"), "kvsname");
    if (rank === 0) ask(`cmd=put kvsname=${board} key=fabric value=${makeValue()}`, "put_result");
    ask("cmd=barrier_in", "barrier_out");
    const value = field(ask(`cmd=get kvsname=${board} key=fabric`, "get_result"), "value");
    // Without it mpiexec takes the end of this process for a failure.
    ask("cmd=finalize", "finalize_ack");
    return value;
  } catch (cause) {
    throw new ConfigurationError(`The ranks could not agree on a meeting point: ${(cause as Error).message}`, {
      hint: "Set MASTER_ADDR to the host of rank 0 and MASTER_PORT to a free port of it: `mpiexec -genv MASTER_ADDR ... -genv MASTER_PORT ...`.",
      cause,
    });
  }
}

function ask(command: string, answer: string): string {
  writeSync(Number(process.env.PMI_FD), `${command}\n`);
  const line = readLine();
  if (field(line, "cmd") === answer && ["", "0"].includes(field(line, "rc"))) return line;
  throw new Error(`mpiexec answered ${JSON.stringify(line)} to ${JSON.stringify(command)}`);
}

function field(line: string, name: string): string {
  return new RegExp(`(?:^|\\s)${name}=(\\S*)`).exec(line)?.[1] ?? "";
}

// Byte by byte, so that nothing of the next line is taken.
function readLine(): string {
  const byte = Buffer.alloc(1);
  let line = "";
  while (readByte(byte) === 1) {
    if (byte[0] === 10) return line;
    line += byte.toString("latin1");
  }
  throw new Error("mpiexec closed the connection");
}

function readByte(byte: Buffer): number {
  for (;;) {
    try {
      return readSync(Number(process.env.PMI_FD), byte, 0, 1, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }
}
