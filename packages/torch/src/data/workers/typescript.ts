// TypeScript in worker threads. Node's own type stripping reaches them; tsx's hooks do not in some versions of Node, among them 20:
// there they are registered once more, by the means that tsx offers for it.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { NotSupportedError } from "../../errors.js";

/** internal: imports a module, with the hooks of tsx when the program runs under it and this thread does not have them. */
export async function importModule(url: string): Promise<Record<string, unknown>> {
  try {
    return (await import(url)) as Record<string, unknown>;
  } catch (error) {
    const { code } = error as { code?: unknown };
    const isTypeScript = code === "ERR_UNKNOWN_FILE_EXTENSION";
    if (!isTypeScript && code !== "ERR_MODULE_NOT_FOUND") throw error;
    if (await registerTsx()) {
      // The failed import is remembered under its own URL.
      return (await import(`${url}?tsx`)) as Record<string, unknown>;
    }
    throw isTypeScript ? cannotRunTypeScript(url, error) : error;
  }
}

/** Registers tsx' hooks in this thread; false when the program does not run under tsx. */
async function registerTsx(): Promise<boolean> {
  const flags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? "").split(/[ =]/)];
  const loader = flags.find((flag) => /(^|\/)tsx(\/|$)/.test(flag));
  if (loader === undefined) return false;
  const require = createRequire(loader.startsWith("file:") ? loader : join(process.cwd(), "_.js"));
  const described = require.resolve("tsx/package.json");
  const { exports } = require(described) as { exports: { "./esm/api": { import: { default: string } } } };
  const api = (await import(new URL(exports["./esm/api"].import.default, pathToFileURL(described)).href)) as {
    register(): unknown;
  };
  api.register();
  return true;
}

function cannotRunTypeScript(url: string, cause: unknown): NotSupportedError {
  return new NotSupportedError(
    `This version of Node (${process.version}) does not run TypeScript in worker threads: ${url}`,
    { hint: "Run the program with `npx tsx`, compile it first, or use Node 22.18 or newer.", cause },
  );
}
