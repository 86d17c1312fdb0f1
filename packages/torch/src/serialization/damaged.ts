// The errors of the readers: each names the file and the record in which the fault lies.
import { CheckpointError } from "../errors.js";

/** internal: the file is incomplete, inconsistent or corrupt. */
export function damaged(where: string, what: string): CheckpointError {
  return new CheckpointError(`${where} is damaged: ${what}`, {
    code: "ERR_CHECKPOINT_DAMAGED",
    hint: "Load an earlier checkpoint, or copy the file again from where it came.",
  });
}

/** internal: the file may be whole, but holds something that is not loaded on purpose. */
export function refused(where: string, what: string, hint: string): CheckpointError {
  return new CheckpointError(`${where} was refused: ${what}`, { code: "ERR_CHECKPOINT_REFUSED", hint });
}

/** internal: the file is of another kind. */
export function foreign(where: string, what: string, hint: string): CheckpointError {
  return new CheckpointError(`${where} is not a checkpoint that can be loaded: ${what}`, {
    code: "ERR_CHECKPOINT_FORMAT",
    hint,
  });
}

/** internal: a failed system call on a file, with the system's code. */
export function fileError(action: string, path: string, error: unknown): CheckpointError {
  if (error instanceof CheckpointError) return error;
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const hint = code === undefined ? undefined : hints[code];
  const reason =
    code === "ENOENT" ? "there is no such file or folder" : error instanceof Error ? error.message : String(error);
  return new CheckpointError(`Could not ${action} ${path}: ${reason}`, {
    ...(code === undefined ? {} : { code }),
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

const hints: Record<string, string> = {
  ENOENT: "Check the path; its folder must exist.",
  ENOSPC: "Free some space on that disk; the previous file, if there was one, is unchanged.",
  EDQUOT: "The disk quota is used up; the previous file, if there was one, is unchanged.",
  EACCES: "Check the permissions of the file and of its folder.",
  EPERM: "Check the permissions of the file and of its folder.",
  EROFS: "The file system is read-only: choose another folder.",
  EISDIR: "Name a file inside of the folder.",
  ENAMETOOLONG: "Choose a shorter name, or a folder that is not as deep.",
  EMFILE: "Too many files are open: close some, or raise the limit with `ulimit -n`.",
};
