// Warnings as this library gives them: a line of text with a kind, once per text where asked, silenced by kind.

/** `PossibleUserWarning` marks hints that may be wrong about the user's intention; `POSSIBLE_USER_WARNINGS=off` silences them. */
export type WarningKind = "UserWarning" | "PossibleUserWarning" | "DeprecationWarning";

/** What a warning is, as `catchWarnings` collects it. */
export interface CaughtWarning {
  message: string;
  kind: WarningKind;
}

let sinks: CaughtWarning[][] = [];
let possibleUserWarnings = !["0", "off"].includes((process.env.POSSIBLE_USER_WARNINGS ?? "").toLowerCase());

/** internal: gives a warning on this rank: through Node's `warning` event, or to the innermost `catchWarnings`. */
export function emitWarning(message: string, kind: WarningKind = "UserWarning"): void {
  if (kind === "PossibleUserWarning" && !possibleUserWarnings) return;
  const sink = sinks.at(-1);
  if (sink) sink.push({ message, kind });
  else process.emitWarning(message, kind);
}

/** Silences all warnings of the kind `PossibleUserWarning`. */
export function disablePossibleUserWarnings(): void {
  possibleUserWarnings = false;
}

/** Collects the warnings that `fn` (which may be async) causes, in place of printing them. */
export async function catchWarnings(fn: () => unknown): Promise<CaughtWarning[]> {
  const caught: CaughtWarning[] = [];
  sinks.push(caught);
  try {
    await fn();
  } finally {
    sinks = sinks.filter((sink) => sink !== caught);
  }
  return caught;
}
