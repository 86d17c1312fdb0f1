// Addresses of files: their schemes, and how they are shown without passwords and signatures.
import { CheckpointError } from "@fabric-ts/torch";

const scheme = /^([a-z][a-z0-9+.-]+):\/\//i;

/** internal: the scheme of a path, in lower case; null for paths of this machine. */
export function schemeOf(path: string): string | null {
  return scheme.exec(path)?.[1]?.toLowerCase() ?? null;
}

/** internal: an address as it may be shown: without user, password, query and fragment. */
export function shownAddress(path: string): string {
  if (schemeOf(path) === null) return path;
  const [start = "", rest = ""] = [scheme.exec(path)?.[0], path.replace(scheme, "")];
  const [host = "", ...parts] = rest.split(/(?=[/?#])/);
  const visible = [host.replace(/^.*@/, ""), ...parts].join("");
  return start + visible.replace(/[?#].*$/s, "");
}

/** internal: the last part of an address. */
export function lastPart(path: string): string {
  return path.replace(/\/+$/, "").split("/").at(-1) ?? "";
}

/** internal: the error for an address that breaks the rules of addresses. */
export function invalidAddress(path: string): CheckpointError {
  return new CheckpointError(`${shownAddress(path)} is no valid address.`, {
    code: "EINVAL",
    hint: "Write characters such as % and spaces as escapes: %25, %20.",
  });
}

/** internal: the error for a file of which a part is of another version. */
export function changedMeanwhile(name: string): CheckpointError {
  return new CheckpointError(`${name} changed while it was read.`, {
    code: "ERR_CHECKPOINT_DAMAGED",
    hint: "Load it again when nobody writes it.",
  });
}
