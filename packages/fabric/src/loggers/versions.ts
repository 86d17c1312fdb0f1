// One version for a run: the same on all ranks, and for all loggers that write beside each other.
import type { Strategy } from "../strategies/strategy.js";
import { FileLogger } from "./file-logger.js";
import type { Logger } from "./logger.js";

/** internal: looks up the next free versions before any logger makes a folder, so that a CSV and an event file share one. */
export function chooseVersions(loggers: readonly Logger[]): (number | string)[] {
  return fileLoggers(loggers).map((logger) => logger.version);
}

/** internal: gives a rank the versions of rank zero: `logDir` is the same everywhere. Rank zero calls it in any case. */
export async function agreeOnVersions(loggers: readonly Logger[], strategy: Strategy): Promise<void> {
  const mine = fileLoggers(loggers);
  if (strategy.worldSize === 1) {
    chooseVersions(mine);
    return;
  }
  if (mine.length === 0 && !strategy.isGlobalZero) return;
  const text = await strategy.fromRankZero("fabric/logger-versions", () => JSON.stringify(chooseVersions(loggers)));
  const versions = JSON.parse(text) as (number | string)[];
  mine.forEach((logger, i) => {
    if (versions[i] !== undefined) logger.adoptVersion(versions[i]);
  });
}

function fileLoggers(loggers: readonly Logger[]): FileLogger[] {
  return loggers.filter((logger) => logger instanceof FileLogger);
}
