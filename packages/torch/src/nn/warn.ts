// internal: warnings of this folder, each shown once a process.

const shown = new Set<string>();

/** internal: emits a process warning unless one with the same key has been shown. */
export function warnOnce(key: string, message: string): void {
  if (shown.has(key)) return;
  shown.add(key);
  process.emitWarning(message, { type: "UserWarning", code: "FABRIC_NN" });
}
