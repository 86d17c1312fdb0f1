// Runs the documentation: each TypeScript block of README.md and docs/ is type-checked, and run in a process of its own.
//
//   ```ts            type-checked and run
//   ```ts no-run     type-checked only: what needs a cluster, a GPU or a file of the reader's
//   ```ts fragment   neither: a signature, or some lines out of a whole that stands elsewhere
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
// Inside the repository, so that the packages are found by name; ignored by git.
const folder = join(root, ".cache", `docs-${process.pid}`);

interface Block {
  /** Where the block stands, for people: "README.md:12". */
  title: string;
  mode: "run" | "no-run" | "fragment";
  code: string;
}

/** The TypeScript blocks of a page. */
function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  const text = readFileSync(page, "utf8");
  for (const match of text.matchAll(/^```ts(?:[ \t]+(.*))?\n([\s\S]*?)^```[ \t]*$/gm)) {
    const title = `${relative(root, page)}:${text.slice(0, match.index).split("\n").length}`;
    const mode = match[1]?.trim() ?? "run";
    assert.ok(
      mode === "run" || mode === "no-run" || mode === "fragment",
      `${title}: unknown word "${mode}" behind \`\`\`ts`,
    );
    blocks.push({ title, mode, code: match[2] as string });
  }
  return blocks;
}

function pages(): string[] {
  const docs = join(root, "docs");
  const guide = existsSync(docs) ? readdirSync(docs, { recursive: true, encoding: "utf8" }).sort() : [];
  const all = [join(root, "README.md"), ...guide.map((file) => join(docs, file))];
  return all.filter((file) => file.endsWith(".md") && existsSync(file));
}

describe("code blocks of the documentation", () => {
  const blocks = pages()
    .flatMap(blocksOf)
    .filter((block) => block.mode !== "fragment")
    .map((block) => ({ ...block, file: join(folder, `${block.title.replace(/[^\w]+/g, "-")}.ts`) }));
  mkdirSync(folder, { recursive: true });
  for (const { file, code } of blocks) writeFileSync(file, code);
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("are type-checked", { skip: blocks.length === 0 && "there are none" }, () => {
    const config = {
      extends: "../../tsconfig.base.json",
      compilerOptions: {
        noEmit: true,
        composite: false,
        incremental: false,
        moduleDetection: "force",
        noUnusedLocals: false,
        noUnusedParameters: false,
      },
      include: ["*.ts"],
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const run = spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder], {
      encoding: "utf8",
    });
    assert.equal(run.status, 0, run.stdout + run.stderr);
  });

  const tsx = pathToFileURL(join(root, "node_modules/tsx/dist/loader.mjs")).href;
  for (const { title, mode, file } of blocks) {
    test(`${title} runs`, { skip: mode === "no-run" && "marked no-run" }, () => {
      const work = join(folder, "work");
      mkdirSync(work, { recursive: true });
      // A process of its own, as a reader would start it; not one of the test runner's.
      const { NODE_TEST_CONTEXT: _, ...env } = process.env;
      const run = spawnSync(process.execPath, ["--import", tsx, file], {
        cwd: work,
        env,
        encoding: "utf8",
        timeout: 120_000,
      });
      assert.equal(run.status, 0, `${run.error?.message ?? ""}${run.stdout}${run.stderr}`);
    });
  }
});
