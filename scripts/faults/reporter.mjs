// A line for each test of `npm run test:faults`, what went wrong in full, and a last line `N passed, N failed`.
import { inspect } from "node:util";

export default async function* report(source) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const started = performance.now();
  let line = "";
  for await (const { type, data } of source) {
    const isTest = data?.details?.type !== "suite" && !/\.faults\.js$/.test(data?.name ?? "");
    if (type === "test:diagnostic") {
      // It belongs to the test before it; those without a test are the runner's own counts.
      if (line !== "") yield `${line}${data.message}\n`;
      line = "";
      continue;
    }
    if (type !== "test:pass" && type !== "test:fail") {
      if (type === "test:stdout" || type === "test:stderr") yield data.message;
      continue;
    }
    if (line !== "") yield `${line.trimEnd()}\n`;
    line = "";
    if (type === "test:fail") {
      if (isSubtestFailure(data.details.error)) continue;
      counts.failed++;
      yield `FAILED  ${data.name}\n${indent(textOf(data.details.error))}\n`;
    } else if (isTest) {
      const isSkipped = data.skip !== undefined;
      counts[isSkipped ? "skipped" : "passed"]++;
      if (isSkipped) yield `skipped ${data.name}: ${data.skip}\n`;
      else line = `ok      ${data.name}: `;
    }
  }
  if (line !== "") yield `${line.trimEnd()}\n`;
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
  const seconds = Math.round((performance.now() - started) / 1000);
  yield `${counts.passed} passed, ${counts.failed} failed${skipped} in ${seconds} s\n`;
}

function isSubtestFailure(error) {
  return error?.failureType === "subtestsFailed";
}

function textOf(error) {
  const cause = error?.cause ?? error;
  return cause instanceof Error ? (cause.stack ?? cause.message) : inspect(cause);
}

function indent(text) {
  return text.replace(/^/gm, "        ");
}
