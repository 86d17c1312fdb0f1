// docs/spec-tests: each behaviour names a test that exists, or says why there is none; the overview counts them.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

const docs = join(dirname(fileURLToPath(import.meta.url)), "../../../docs");
const pages = readdirSync(join(docs, "spec-tests")).sort();

interface Row {
  page: string;
  section: string;
  behaviour: string;
  shownBy: string;
}

function rowsOf(page: string): Row[] {
  const lines = readFileSync(join(docs, "spec-tests", page), "utf8").split("\n");
  const [heading, header, dashes, ...rows] = lines.filter((line) => line !== "");
  assert.match(heading ?? "", new RegExp(`^# ${Number(page.slice(0, 2))}\\. \\S`), page);
  assert.deepEqual([header, dashes], ["| section | behaviour | shown by |", "| --- | --- | --- |"], page);
  return rows.map((line) => {
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    assert.equal(cells.length, 5, `${page}: ${line}`);
    const [, section, behaviour, shownBy] = cells as [string, string, string, string];
    assert.equal(Number.parseInt(section, 10), Number(page.slice(0, 2)), `${page}: ${line}`);
    assert.ok(behaviour !== "", `${page}: ${line}`);
    return { page, section, behaviour, shownBy };
  });
}

const sources = new Map<string, string>();
/** A test's file as it is written, with escaped quotes as they read. */
function sourceOf(path: string): string {
  const known = sources.get(path);
  if (known !== undefined) return known;
  const text = readFileSync(path, "utf8").replaceAll(/\\(["'`])/g, "$1");
  sources.set(path, text);
  return text;
}

/** What is wrong with the tests that a row names; undefined where nothing is. */
function faultOf({ shownBy }: Row): string | undefined {
  if (shownBy.startsWith("- ")) return shownBy.length > 10 ? undefined : "gives no reason";
  const parts = shownBy.replaceAll("\\|", "|").split(/;\s+(?=\[|")/);
  let path = "";
  for (const part of parts) {
    const found = /^(?:\[[^\]]+\]\(([^)]+\.test\.m?ts|[^)]+\.mjs)\)\s*)?"([^"]+)"/.exec(part);
    if (!found) return `is not of the form [file](path) "title": ${part}`;
    if (found[1]) path = normalize(join(docs, "spec-tests", found[1]));
    if (!sourceOf(path).includes(found[2] as string)) return `names a test that is not there: ${part}`;
  }
  return undefined;
}

for (const page of pages) {
  it(`${page}: every behaviour is shown by a test that exists, or says why not`, () => {
    const faults = rowsOf(page).flatMap((row) => {
      const fault = faultOf(row);
      return fault === undefined ? [] : [`${row.section} "${row.behaviour}" ${fault}`];
    });
    assert.deepEqual(faults, []);
  });
}

it("the overview has each page with its counts", () => {
  const overview = readFileSync(join(docs, "spec-tests.md"), "utf8");
  const total = { behaviours: 0, shown: 0 };
  const expected = pages.map((page) => {
    const rows = rowsOf(page);
    const shown = rows.filter(({ shownBy }) => !shownBy.startsWith("- ")).length;
    total.behaviours += rows.length;
    total.shown += shown;
    const [, title] = /^# \d+\. (.*)/.exec(readFileSync(join(docs, "spec-tests", page), "utf8")) ?? [];
    return `| ${Number(page.slice(0, 2))} | [${title}](spec-tests/${page}) | ${rows.length} | ${shown} |`;
  });
  expected.push(`| | all | ${total.behaviours} | ${total.shown} |`);
  assert.deepEqual(
    overview.split("\n").filter((line) => /^\| (\d+ )?\|/.test(line)),
    expected,
  );
});
