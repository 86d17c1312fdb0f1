// Imports point one way:
//
//   cli -> fabric -> connector, wrappers -> strategies -> launchers, precision, environments, checkpoint... -> utilities -> @fabric-ts/torch
//
// A file may import from its own layer and those below. What only types need (`import type`) may also come from above: it is
// gone at run time. Fabric sees the public entries of @fabric-ts/torch only, which in turn knows nothing of Fabric.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const packages = join(dirname(fileURLToPath(import.meta.url)), "../..");

// The first word of a path below src/, or the name of a file directly in it, and its height.
const LAYERS: readonly (readonly string[])[] = [
  ["cli"],
  ["index", "fabric"],
  ["connector", "wrappers", "callbacks"],
  ["strategies"],
  ["accelerators", "checkpoint", "collectives", "environments", "filesystems", "launchers", "loggers", "precision"],
  ["utilities"],
];

interface Import {
  specifier: string;
  typeOnly: boolean;
}

/** All imports and re-exports of a source text, dynamic ones included. */
function importsOf(source: string): Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const statements = code.matchAll(/^\s*(?:import|export)\s+(type\s)?(?:[^;"']*?\sfrom\s+)?["']([^"']+)["']/gm);
  const calls = code.matchAll(/\b(?:import|require)\(\s*["']([^"']+)["']\s*\)/g);
  return [
    ...[...statements].map((match) => ({ specifier: match[2] as string, typeOnly: match[1] !== undefined })),
    ...[...calls].map((match) => ({ specifier: match[1] as string, typeOnly: false })),
  ];
}

/** The imports of each source file of a package, by path below src/. */
function modulesOf(name: string): Map<string, Import[]> {
  const folder = join(packages, name, "src");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => /\.[cm]?ts$/.test(file));
  return new Map(files.map((file) => [file, importsOf(readFileSync(join(folder, file), "utf8"))]));
}

/** The module of this package that a relative import names, by path below src/. */
function target(name: string, importer: string, specifier: string): string {
  const folder = join(packages, name, "src");
  const path = resolve(dirname(join(folder, importer)), specifier.replace(/\.([cm]?)js$/, ".$1ts"));
  return relative(folder, path);
}

function layerOf(file: string): number {
  const word = (file.split("/")[0] as string).replace(/\.ts$/, "");
  return LAYERS.findIndex((layer) => layer.includes(word));
}

test("the import check sees imports of every form, and none in comments", () => {
  const source = `
    import "./a.js";
    import type { B } from "./b.js";
    import {
      c,
    } from "./c.js";
    export * from "./d.js";
    // import "./no.js";
    /* import "./no.js"; */
    const e = await import("./e.js");
  `;
  const seen = importsOf(source).map(({ specifier, typeOnly }) => (typeOnly ? `type ${specifier}` : specifier));
  assert.deepEqual(seen, ["./a.js", "type ./b.js", "./c.js", "./d.js", "./e.js"]);
});

test("Fabric's imports point downwards", () => {
  const modules = modulesOf("fabric");
  assert.ok(modules.size > 0, "no module was looked at");
  const wrong: string[] = [];
  for (const [file, imports] of modules) {
    const layer = layerOf(file);
    if (layer < 0) wrong.push(`${file} is in no layer: add its folder to LAYERS`);
    for (const { specifier, typeOnly } of imports) {
      if (!specifier.startsWith(".")) continue;
      const other = target("fabric", file, specifier);
      if (!modules.has(other)) wrong.push(`${file} imports ${specifier}, which is no source file of this package`);
      else if (!typeOnly && layerOf(other) < layer) wrong.push(`${file} imports ${other}, which is above it`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("Fabric imports nothing but Node, the public entries of @fabric-ts/torch, and commander in its command line", () => {
  const modules = modulesOf("fabric");
  const wrong: string[] = [];
  for (const [file, imports] of modules) {
    for (const { specifier } of imports) {
      const allowed =
        /^(\.|node:|@fabric-ts\/torch(\/base)?$)/.test(specifier) ||
        (specifier === "commander" && file.startsWith("cli/"));
      if (!allowed) wrong.push(`${file} imports ${specifier}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("no modules of Fabric import each other in a circle", () => {
  const modules = modulesOf("fabric");
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
    if (done.has(file) || path.includes(file)) return;
    for (const { specifier, typeOnly } of modules.get(file) ?? []) {
      if (!typeOnly && specifier.startsWith(".")) visit(target("fabric", file, specifier), [...path, file]);
    }
    done.add(file);
  };
  for (const file of modules.keys()) visit(file, []);
  assert.deepEqual(circles, []);
});

test("@fabric-ts/torch imports nothing but Node and itself", () => {
  const modules = modulesOf("torch");
  assert.ok(modules.size > 0, "no module was looked at");
  const wrong: string[] = [];
  for (const [file, imports] of modules) {
    for (const { specifier } of imports) {
      if (specifier.startsWith("node:")) continue;
      const path = join(packages, "torch/src", target("torch", file, specifier));
      const generated = existsSync(path) || specifier.endsWith(".generated.js");
      if (!specifier.startsWith(".") || !generated) wrong.push(`${file} imports ${specifier}`);
    }
  }
  assert.deepEqual(wrong, []);
});
