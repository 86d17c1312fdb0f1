// Empty libraries in the place of those that LibTorch names but never calls: which get one, and that a process does without the real ones.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, describe, it } from "node:test";
import { processControl } from "@fabric-ts/torch";

const { loadedLibraries, unusedNames, tryStandIns } = (await import(
  new URL("../../../scripts/setup/stand-ins.mjs", import.meta.url).href
)) as {
  loadedLibraries(addon: string): Map<string, string> | null;
  unusedNames(addon: string, torchLibraries: string[], paths: Map<string, string>): string[];
  tryStandIns(addon: string, names: string[], folder: string): { libraries: number } | string;
};

const build = processControl.addonBuild();
assert.ok(!(build instanceof Error) && build.standIns !== undefined);
const addon: string = build.addon;
const standIns = build.standIns;

const folder = mkdtempSync(join(tmpdir(), "fabric-stand-ins-"));
after(() => rmSync(folder, { recursive: true }));

describe("stand-ins", { skip: process.platform !== "linux" && "they are for Linux" }, () => {
  /** A shared library of a function `NAME`, which calls the functions of `uses` and is linked with `links`. */
  function library(name: string, { uses = [] as string[], links = [] as string[] } = {}): string {
    const source = join(folder, `${name}.cc`);
    const path = join(folder, `lib${name}.so`);
    const declared = uses.map((use) => `void ${use}();`).join(" ");
    const called = uses.map((use) => `${use}();`).join(" ");
    writeFileSync(source, `extern "C" { ${declared} void ${name}() { ${called} } }\n`);
    const options = [`-Wl,-soname,lib${name}.so`, `-Wl,-rpath,${folder}`, `-L${folder}`, "-Wl,--no-as-needed"];
    const libraries = links.map((link) => `-l${link}`);
    execFileSync("c++", ["-shared", "-fPIC", "-nostdlib", "-o", path, source, ...options, ...libraries]);
    return path;
  }

  it("are for libraries that nothing refers to and that bring others along", () => {
    const five = ["one", "two", "three", "four", "five"];
    for (const name of [...five, "used", "usedByOther"]) library(name);
    library("unused", { links: five });
    library("light", { links: ["one"] });
    library("other", { uses: ["usedByOther"] });
    const links = ["unused", "used", "usedByOther", "light", "other"];
    const engine = library("engine", { uses: ["used", "other"], links });
    const loader = library("loader", { uses: ["engine"], links: ["engine"] });
    const paths = loadedLibraries(loader);
    assert.equal(paths?.get("libengine.so"), engine);
    assert.deepEqual(unusedNames(loader, [engine], paths), ["libunused.so"]);
  });

  it("are refused where LibTorch needs the library after all", () => {
    const core = [...(loadedLibraries(addon) ?? new Map<string, string>()).keys()].find((name) =>
      /^libc10\.so/.test(name),
    );
    assert.ok(core);
    assert.match(tryStandIns(addon, [core], folder) as string, /does not work with them: .*undefined symbol/);
  });

  it("keep the libraries out of a process that computes, unless FABRIC_FULL_LIBTORCH is 1", () => {
    const program = `
      import { ones } from "@fabric-ts/torch";
      import { readFileSync } from "node:fs";
      const sum = ones([8, 8]).matmul(ones([8, 8])).sum().item();
      const libraries = new Set(readFileSync("/proc/self/maps", "utf8").match(/\\/\\S+\\.so(\\.\\S+)?$/gm));
      console.log(JSON.stringify({ sum, libraries: [...libraries] }));`;
    const run = (full: string): string[] => {
      const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
        cwd: import.meta.dirname,
        env: { ...process.env, FABRIC_FULL_LIBTORCH: full },
        encoding: "utf8",
      });
      const { sum, libraries } = JSON.parse(stdout || stderr) as { sum: number; libraries: string[] };
      assert.equal(sum, 512);
      return libraries.map((path) => basename(path));
    };
    const [fewer, all] = [run("0"), run("1")];
    if ("reason" in standIns) return assert.equal(fewer.length, all.length);
    const { names, with: expected } = standIns;
    const stems = names.map((name) => name.replace(/\.so.*/, ".so"));
    const found = (libraries: string[]): number =>
      stems.filter((stem) => libraries.some((name) => name.startsWith(stem))).length;
    assert.deepEqual([found(fewer), found(all)], [0, names.length]);
    assert.ok(all.length - fewer.length >= 50 && fewer.length <= expected + 5, `${fewer.length} of ${all.length}`);
  });
});
