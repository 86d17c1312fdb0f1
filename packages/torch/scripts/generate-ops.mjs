// Writes src/ops.generated.ts from the operator schemas of every supported LibTorch (schemas/<version>.txt).
//
//   node packages/torch/scripts/generate-ops.mjs           writes the file
//   node packages/torch/scripts/generate-ops.mjs --check   exits 1 when the file, or the schemas of the built LibTorch, differ
//   node packages/torch/scripts/generate-ops.mjs --dump    writes schemas/<version>.txt of the built LibTorch
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseSchema } from "./schema.mjs";
import { compareVersions, generate } from "./signatures.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const target = join(root, "src", "ops.generated.ts");
const schemaFile = (version) => join(root, "schemas", `${version}.txt`);

function generated() {
  const versions = readdirSync(join(root, "schemas"))
    .filter((file) => file.endsWith(".txt"))
    .map((file) => file.slice(0, -".txt".length))
    .sort(compareVersions)
    .map((version) => ({ version, schemas: lines(schemaFile(version)).map(parseSchema) }));
  return generate(versions, JSON.parse(readFileSync(join(root, "scripts", "python-names.json"), "utf8")));
}

function lines(file) {
  return readFileSync(file, "utf8").split("\n").filter(Boolean);
}

// The schemas of the LibTorch that the addon is built for, or undefined. Patch releases share theirs.
function builtSchemas() {
  const current = join(root, "build", "current.json");
  if (!existsSync(current)) return undefined;
  const { addon, torch } = JSON.parse(readFileSync(current, "utf8"));
  const native = createRequire(import.meta.url)(join(root, "build", addon));
  native.setup(
    (_kind, message) => new Error(message),
    () => {},
    () => null,
  );
  const own = native.schemas().filter((schema) => schema.startsWith("aten::"));
  return { version: /^\d+\.\d+/.exec(torch)[0], schemas: own.sort() };
}

function check() {
  if (!existsSync(target) || readFileSync(target, "utf8") !== generated()) {
    fail(
      "src/ops.generated.ts is not what the schemas give.",
      "Run `node packages/torch/scripts/generate-ops.mjs` and commit the result.",
    );
  }
  const built = builtSchemas();
  if (!built) return;
  const file = schemaFile(built.version);
  if (!existsSync(file)) {
    process.stdout.write(`There is no list of schemas for LibTorch ${built.version}; write it with --dump.\n`);
    return;
  }
  const known = new Set(lines(file));
  const found = new Set(built.schemas);
  const differing = [
    ...built.schemas.filter((s) => !known.has(s)).map((s) => `+ ${s}`),
    ...[...known].filter((s) => !found.has(s)).map((s) => `- ${s}`),
  ];
  if (differing.length > 0) {
    fail(
      `The built LibTorch has other operators than schemas/${built.version}.txt:\n${differing.slice(0, 10).join("\n")}`,
      "Run this script with --dump, then without, and commit both files.",
    );
  }
}

function dump() {
  const built = builtSchemas();
  if (!built) fail("The addon is not built.", "Run `npm run setup` first.");
  writeFileSync(schemaFile(built.version), `${built.schemas.join("\n")}\n`);
}

function fail(message, hint) {
  process.stderr.write(`${message}\n${hint}\n`);
  process.exit(1);
}

if (process.argv.includes("--check")) check();
else if (process.argv.includes("--dump")) dump();
else writeFileSync(target, generated());
