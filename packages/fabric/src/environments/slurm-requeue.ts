// Putting a SLURM job back into the queue.
import type { ExecFileException } from "node:child_process";
import { builtins } from "@fabric-ts/torch/base";
import { rankZeroWarn } from "../utilities/rank-zero.js";

const timeoutMs = 60_000;

/** internal: runs `scontrol requeue` for this job; false, after a warning, when SLURM did not take it. */
export async function requeueJob(): Promise<boolean> {
  const job = jobToRequeue();
  if (job === undefined) return refused("SLURM_JOB_ID is not set", "Start the program inside of a SLURM job.");
  const { error, stderr } = await run("scontrol", ["requeue", job]);
  // The requeue ends every process of the job, and `scontrol` is one of them.
  if (error === null || (typeof error.signal === "string" && !error.killed)) return true;
  if (error.code === "ENOENT") {
    const hint = "Submit it again with `sbatch`. The program `scontrol` has to be on the path of the compute nodes.";
    return refused("`scontrol` was not found", hint);
  }
  const said = error.killed ? `no answer within ${timeoutMs / 1000} s` : stderr.trim() || error.message;
  return refused(`\`scontrol requeue ${job}\` failed (${said})`, "Submit it again with `sbatch`.");
}

/** A task of an array job goes by the number of the array and its own. */
function jobToRequeue(): string | undefined {
  const { SLURM_JOB_ID, SLURM_ARRAY_JOB_ID, SLURM_ARRAY_TASK_ID } = process.env;
  if (SLURM_ARRAY_JOB_ID === undefined || SLURM_ARRAY_TASK_ID === undefined) return SLURM_JOB_ID;
  return `${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}`;
}

function refused(why: string, hint: string): false {
  rankZeroWarn(`The job was not put back into the queue: ${why}. The checkpoint is kept.\n${hint}`);
  return false;
}

function run(program: string, args: string[]): Promise<{ error: ExecFileException | null; stderr: string }> {
  return new Promise((resolve) => {
    builtins.childProcess.execFile(program, args, { timeout: timeoutMs }, (error, _stdout, stderr) =>
      resolve({ error, stderr }),
    );
  });
}
