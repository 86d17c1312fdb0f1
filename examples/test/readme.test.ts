// The page of the examples: complete, and true about files and commands.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { root } from "./run-example.js";

const folder = join(root, "examples");
const page = readFileSync(join(folder, "README.md"), "utf8");
const links = [...page.matchAll(/\]\(([^)#]+?)\)/g)].map((match) => match[1] as string);

it("every folder of examples is on the page, and every link leads somewhere", () => {
  const folders = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== "dist" && entry.name !== "test")
    .map(({ name }) => name);
  assert.ok(folders.length >= 20);
  for (const name of folders) assert.ok(page.includes(`| [${name}](${name}`), `${name} is not on the page`);
  for (const link of links) assert.ok(existsSync(join(folder, link)), `${link} does not exist`);
});

it("all 22 patterns are on the page, each with an example or a reason", () => {
  const rows = [...page.matchAll(/^\| (\d+) \| ([^|]+) \| ([^|]+) \|$/gm)];
  assert.deepEqual(
    rows.map((row) => Number(row[1])),
    Array.from({ length: 22 }, (_, i) => i + 1),
  );
  for (const [, number, , where = ""] of rows) assert.match(where, /\.ts\)|not yet|none: /, `pattern ${number}`);
});

it("every example names the command that runs it in its first lines", () => {
  const examples = new Set(links.filter((link) => link.includes("/") && link.endsWith(".ts")));
  // Not a program: what the one beside it uses.
  examples.delete("trainer/trainer.ts");
  for (const path of examples) {
    const header = readFileSync(join(folder, path), "utf8").split("\nimport ")[0] ?? "";
    const command = path === "digits/train.ts" ? "npm start" : `examples/${path}`;
    assert.match(header, new RegExp(`^// {3}np(x|m) .*${command}|^// {3}${command}`, "m"), path);
  }
});
