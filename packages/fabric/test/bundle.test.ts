// What users import: the bundles of both packages, against the modules that they were made of, which all other tests of a single module see.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";

interface Package {
  exports: Record<string, string | { types: string; "fabric-ts-modules": string; default: string }>;
  bin?: Record<string, string>;
}

const folderOf = (name: string): string =>
  dirname(realpathSync(createRequire(import.meta.url).resolve(`@fabric-ts/${name}/package.json`)));
const importFile = (...path: string[]): Promise<Record<string, unknown>> =>
  import(pathToFileURL(join(...path)).href) as Promise<Record<string, unknown>>;

const noNpm = spawnSync("npm", ["--version"]).status === 0 ? false : "needs npm";

/** The exports of `modules`, those of namespaces included, that are not the same in `bundle`; and the number of all. */
function compared(modules: object, bundle: object, path = ""): { count: number; different: string[] } {
  const different: string[] = [];
  const own = (one: object, other: object): string[] => Object.keys(one).filter((key) => !(key in other));
  for (const key of own(modules, bundle)) different.push(`${path}${key} is missing`);
  for (const key of own(bundle, modules)) different.push(`${path}${key} is too many`);
  const entries = Object.entries(modules);
  let count = entries.length;
  for (const [key, value] of entries) {
    const other = (bundle as Record<string, unknown>)[key];
    if (isNamespace(value)) {
      const inner = compared(value, other as object, `${path}${key}.`);
      count += inner.count;
      different.push(...inner.different);
    } else if (textOf(value) !== textOf(other)) {
      different.push(`${path}${key} is ${textOf(other)} instead of ${textOf(value)}`);
    }
  }
  return { count, different };
}

function isNamespace(value: unknown): value is object {
  return typeof value === "object" && value !== null && Object.prototype.toString.call(value) === "[object Module]";
}

// Operators have no names of their own.
function textOf(value: unknown): string {
  return typeof value === "function" && !/^made\d*$/.test(value.name) ? `function ${value.name}` : typeof value;
}

for (const name of ["torch", "fabric"]) {
  const folder = folderOf(name);
  const { exports, bin = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Package;
  const entries = Object.values(exports).filter((entry) => typeof entry === "object");

  describe(`the bundle of @fabric-ts/${name}`, () => {
    it("exports what the modules export, under the same names", async () => {
      for (const entry of entries) {
        const modules = await importFile(folder, entry["fabric-ts-modules"]);
        const { count, different } = compared(modules, await importFile(folder, entry.default));
        assert.ok(count > 5);
        assert.deepEqual(different, []);
      }
    });

    it("has every file of the package that is found by its path", () => {
      const dist = join(folder, "dist");
      const found = readdirSync(dist, { recursive: true, encoding: "utf8" })
        .filter((path) => path.endsWith(".js"))
        .flatMap((path) => {
          const code = readFileSync(join(dist, path), "utf8");
          const targets = [...code.matchAll(/new URL\("([^"]+)", import\.meta\.url\)/g)].map((match) => match[1]);
          return targets.map((target) => join(dirname(path), target as string));
        })
        .filter((path) => existsSync(join(dist, path)));
      if (name === "fabric") assert.ok(found.includes("cli/worker.js") && found.includes("launchers/preload.cjs"));
      for (const path of found) assert.ok(existsSync(join(folder, "bundle", path)), `${path} is not in the bundle`);
    });

    it("is packed with its types, and the modules are not", { skip: noNpm }, () => {
      const packing = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
        cwd: folder,
        encoding: "utf8",
      });
      const [{ files }] = JSON.parse(packing) as [{ files: { path: string }[] }];
      const packed = files.map(({ path }) => path);
      const needed = [...entries.flatMap((entry) => [entry.types, entry.default]), ...Object.values(bin)];
      for (const path of needed) assert.ok(packed.includes(path.replace("./", "")), `${path} is not packed`);
      assert.deepEqual(
        packed.filter((path) => /^dist\/(?!.*\.d\.ts$)|stamp\.json$/.test(path)),
        [],
      );
    });
  });
}

it("the command `fabric` runs", () => {
  const { version } = JSON.parse(readFileSync(join(folderOf("fabric"), "package.json"), "utf8")) as { version: string };
  const command = join(folderOf("fabric"), "../../node_modules/.bin/fabric");
  assert.match(execFileSync(command, ["--version"], { encoding: "utf8" }), new RegExp(`\\b${version}\\b`));
});

it("importing the package loads none of Node's slower modules", () => {
  const slow = ["child_process", "crypto", "http", "https", "net", "tty", "v8", "vm", "zlib"];
  const program = `const before = new Set(process.moduleLoadList);
    await import(${JSON.stringify(pathToFileURL(join(folderOf("fabric"), "bundle/index.js")).href)});
    console.log(JSON.stringify(process.moduleLoadList.filter((name) => !before.has(name))));`;
  const loaded = execFileSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  assert.deepEqual(
    slow.filter((name) => (JSON.parse(loaded) as string[]).includes(`NativeModule ${name}`)),
    [],
  );
});

it("classes keep their names in stack traces", async () => {
  const torch = (await importFile(folderOf("torch"), "bundle/index.js")) as typeof import("@fabric-ts/torch");
  assert.throws(
    () => torch.ones([2]).matmul(torch.ones([3])),
    (error: Error) => /at Tensor\.matmul/.test(error.stack ?? ""),
  );
});
