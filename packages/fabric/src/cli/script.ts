// What `fabric run` is asked to run: a file, or a program of an installed package, and the flags of Node that it needs.
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { NotSupportedError } from "@fabric-ts/torch/base";

/** internal: a program for Node. */
export interface Program {
  path: string;
  flags: string[];
}

/** internal: finds it; `fail` is told why not. Throws a `NotSupportedError` for TypeScript where nothing can run it. */
export function findProgram(name: string, isModule: boolean, fail: (message: string) => never): Program {
  const path = isModule ? findModule(name) : resolve(name);
  if (path === undefined) {
    return fail(`Invalid value for 'SCRIPT': no package or program '${name}' is installed here.`);
  }
  if (!existsSync(path)) return fail(`Invalid value for 'SCRIPT': Path '${name}' does not exist.`);
  const extension = extname(path);
  if (extension === ".py") {
    return fail(
      `Invalid value for 'SCRIPT': '${name}' is a Python script; this \`fabric\` runs JavaScript and TypeScript.`,
    );
  }
  return { path, flags: /^\.([cm]?ts|tsx|jsx)$/.test(extension) ? loaderFlags(path) : [] };
}

/** Flags with which Node runs TypeScript: tsx where it is installed, otherwise Node's own stripping of types. */
function loaderFlags(script: string): string[] {
  const given = [...process.execArgv, process.env.NODE_OPTIONS ?? ""].join(" ");
  if (/\b(tsx|ts-node|swc-node|@swc|esbuild-register|jiti)\b/.test(given)) return [];
  for (const folder of [dirname(script), process.cwd()]) {
    try {
      return ["--import", pathToFileURL(createRequire(join(folder, "_")).resolve("tsx")).href];
    } catch {
      // Not installed there.
    }
  }
  const canStrip = !/x$/.test(script);
  if (canStrip && (process.features as { typescript?: unknown }).typescript) return [];
  const flag = "--experimental-strip-types";
  if (canStrip && process.allowedNodeEnvironmentFlags.has(flag)) return [flag];
  throw new NotSupportedError(`${script} is not plain JavaScript, and nothing is installed here that runs it.`, {
    hint: `Install tsx (\`npm install --save-dev tsx\`)${canStrip ? ", use Node 22.18 or newer" : ""}, or compile it first.`,
  });
}

/** The program of a package, a program by its own name, or the module that `require(name)` means. */
function findModule(name: string): string | undefined {
  for (const folder of foldersUpwards(process.cwd())) {
    const path =
      packageProgram(join(folder, "node_modules", name), name) ?? binary(join(folder, "node_modules/.bin", name));
    if (path !== undefined) return path;
  }
  try {
    return createRequire(join(process.cwd(), "_")).resolve(name);
  } catch {
    return undefined;
  }
}

function* foldersUpwards(start: string): Generator<string> {
  for (let folder = start; ; folder = dirname(folder)) {
    yield folder;
    if (dirname(folder) === folder) return;
  }
}

function packageProgram(folder: string, name: string): string | undefined {
  let bin: string | Record<string, string> | undefined;
  try {
    ({ bin } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { bin?: typeof bin });
  } catch {
    return undefined;
  }
  if (bin === undefined) return undefined;
  const programs = typeof bin === "string" ? [bin] : Object.values(bin);
  const own = typeof bin === "string" ? bin : bin[name.split("/").pop() as string];
  const chosen = own ?? (programs.length === 1 ? programs[0] : undefined);
  return chosen === undefined ? undefined : join(folder, chosen);
}

/** Some package managers put shell scripts there, which Node does not run. */
function binary(path: string): string | undefined {
  try {
    const target = realpathSync(path);
    const firstLine = readFileSync(target, "utf8").split("\n", 1)[0] as string;
    return /^#!.*\bnode\b/.test(firstLine) || /\.[cm]?js$/.test(target) ? target : undefined;
  } catch {
    return undefined;
  }
}
