// A function by its name: the module that exports it, for places where there is no script to run again.
import { existsSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { isAbsolute, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { UsageError } from "@fabric-ts/torch/base";
import { checkOptions, describe } from "../utilities/describe.js";

/** A function that another process can find: `{ module: new URL("./train.js", import.meta.url), export: "train" }`. */
export interface FunctionReference {
  /** A URL, a path (relative ones start at the working directory), or the name of a package. */
  module: string | URL;
  /** The name under which the module exports it (default `"default"`). */
  export?: string | undefined;
}

/** internal: true for what is meant as a reference; throws a `TypeError` for one that is malformed. */
export function isFunctionReference(value: unknown): value is FunctionReference {
  if (typeof value !== "object" || value === null || !("module" in value)) return false;
  checkOptions("the reference to a function", value, ["module", "export"]);
  const { module, export: name } = value as Record<string, unknown>;
  if (typeof module !== "string" && !(module instanceof URL)) {
    throw new TypeError(
      `Expected \`module\` to be a path or a URL, but got ${describe(module)}.\nType for example \`{ module: new URL("./train.js", import.meta.url), export: "train" }\`.`,
    );
  }
  if (name !== undefined && typeof name !== "string") {
    throw new TypeError(`Expected \`export\` to be the name of an exported function, but got ${describe(name)}.`);
  }
  return true;
}

/** internal: the same reference with an absolute URL, which means the same in every process. */
export function resolveReference({ module, export: name = "default" }: FunctionReference): {
  module: string;
  export: string;
} {
  return { module: urlOf(module), export: name };
}

/** internal: loads the module and takes the function out of it. Throws a `UsageError` when that is not possible. */
export async function importFunction({ module, export: name = "default" }: FunctionReference) {
  const url = urlOf(module);
  if (isMainScript(url)) {
    throw new UsageError(`${fileURLToPath(url)} is the script that is running, which cannot be imported from inside.`, {
      hint: "Pass the function itself, `fabric.launch(train)`, or move it to a module of its own.",
    });
  }
  let exports: Record<string, unknown>;
  try {
    exports = (await import(url)) as Record<string, unknown>;
  } catch (cause) {
    throw new UsageError(`The module of the function to launch cannot be loaded: ${(cause as Error).message}`, {
      hint: "Give its URL, such as `new URL('./train.js', import.meta.url)`; paths start at the working directory.",
      cause,
    });
  }
  const found = exports[name];
  if (typeof found === "function") return found as (...args: unknown[]) => unknown;
  const functions = Object.keys(exports).filter((key) => typeof exports[key] === "function");
  throw new UsageError(`${url} exports no function \`${name}\`, but ${describe(found)} under that name.`, {
    hint: `Functions that it exports: ${functions.join(", ") || "none"}.`,
  });
}

function urlOf(module: string | URL): string {
  if (module instanceof URL) return module.href;
  if (/^[a-z][a-z0-9+.-]+:/i.test(module)) return module;
  const path = resolve(module);
  if (isAbsolute(module) || module.startsWith(".") || existsSync(path)) return pathToFileURL(path).href;
  try {
    return pathToFileURL(createRequire(join(process.cwd(), "_")).resolve(module)).href;
  } catch {
    return module;
  }
}

function isMainScript(url: string): boolean {
  const script = process.argv[1];
  if (script === undefined || !url.startsWith("file:")) return false;
  try {
    return realpathSync(script) === realpathSync(fileURLToPath(url));
  } catch {
    return false;
  }
}
