// Runs the documentation: each TypeScript block of the READMEs, FEATURES.md and docs/ is compiled, and run in a process of its own.
//
//   ```ts            type-checked and run
//   ```ts no-run     type-checked only: what needs a cluster, a GPU or a file of the reader's
//   ```ts fragment   neither: a signature, or some lines out of a whole that stands elsewhere
//   ```ts name.ts    type-checked: a file that other blocks import as "./name.js"
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
// Inside the repository, so that the packages are found by name; ignored by git.
const folder = join(root, ".cache", `docs-${process.pid}`);

interface Block {
  /** Where the block stands, for people: "README.md:12". */
  title: string;
  mode: "run" | "no-run" | "fragment" | "file";
  /** Of the compiled file, without its ending. */
  name: string;
  code: string;
}

/** The TypeScript blocks of a page. */
function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  const text = readFileSync(page, "utf8");
  for (const match of text.matchAll(/^```ts(?:[ \t]+(.*))?\n([\s\S]*?)^```[ \t]*$/gm)) {
    const title = `${relative(root, page)}:${text.slice(0, match.index).split("\n").length}`;
    const word = match[1]?.trim() ?? "run";
    const file = word.match(/^([\w-]+)\.ts$/)?.[1];
    const mode = file === undefined ? word : "file";
    assert.ok(
      mode === "run" || mode === "no-run" || mode === "fragment" || mode === "file",
      `${title}: unknown word "${word}" behind \`\`\`ts`,
    );
    blocks.push({ title, mode, name: file ?? nameOf(title), code: match[2] as string });
  }
  return blocks;
}

function nameOf(title: string): string {
  return title.replace(/[^\w]+/g, "-");
}

/** Every page that is read: those at the root, those of the packages, and the guide. */
function pages(): string[] {
  const below = (path: string): string[] =>
    readdirSync(join(root, path), { recursive: true, encoding: "utf8" }).map((file) => join(path, file));
  const packages = readdirSync(join(root, "packages")).map((name) => join("packages", name, "README.md"));
  const files = ["README.md", "FEATURES.md", ...packages, ...below("docs").sort()];
  return files.filter((file) => file.endsWith(".md")).map((file) => join(root, file));
}

interface Ended {
  failed: boolean;
  output: string;
}

/** Runs a compiled block as a reader would start it: not as a process of the test runner's. */
function run(file: string, cwd: string): Promise<Ended> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ["--enable-source-maps", file],
      { cwd, env, encoding: "utf8", timeout: 120_000 },
      (error, stdout, stderr) =>
        resolve({ failed: error !== null, output: `${error?.message ?? ""}\n${stdout}${stderr}` }),
    );
  });
}

// Blocks of one page run one after the other, in one folder: a later one may read what an earlier one wrote.
describe("code blocks of the documentation", { concurrency: 2 }, () => {
  const documents = pages()
    .map((page) => ({ page: relative(root, page), blocks: blocksOf(page).filter(({ mode }) => mode !== "fragment") }))
    .filter(({ blocks }) => blocks.length > 0);
  mkdirSync(folder, { recursive: true });
  for (const { blocks } of documents) {
    for (const { title, name, code } of blocks) {
      assert.ok(!existsSync(join(folder, `${name}.ts`)), `${title}: there is a file ${name}.ts already`);
      writeFileSync(join(folder, `${name}.ts`), code);
    }
  }
  const config = {
    extends: "../../tsconfig.base.json",
    compilerOptions: {
      outDir: "out",
      rootDir: ".",
      composite: false,
      incremental: false,
      declaration: false,
      moduleDetection: "force",
      noUnusedLocals: false,
      noUnusedParameters: false,
    },
    include: ["*.ts"],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const compiled = spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder], {
    encoding: "utf8",
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("are found in every place that has some", () => {
    const places = documents.map(({ page }) => page);
    for (const place of ["README.md", "packages/torch/README.md", "packages/fabric/README.md", "docs/checkpoints.md"]) {
      assert.ok(places.includes(place), `${place} is not among ${places.join(", ")}`);
    }
  });
  test("are type-checked", () => assert.equal(compiled.status, 0, compiled.stdout + compiled.stderr));

  for (const { page, blocks } of documents) {
    describe(page, { concurrency: 1 }, () => {
      const work = join(folder, nameOf(page));
      mkdirSync(work, { recursive: true });
      for (const { title, mode, name } of blocks) {
        if (mode === "file") continue;
        test(`${title} runs`, { skip: mode === "no-run" && "marked no-run" }, async () => {
          const { failed, output } = await run(join(folder, "out", `${name}.js`), work);
          assert.ok(!failed, output);
        });
      }
    });
  }
});
