// Datasets and functions that loader workers find again: threads share no objects, so what has methods is made anew in each
// worker, from the module that exports its class or function.
import { existsSync, realpathSync } from "node:fs";
import { isAbsolute } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, typeError } from "../check.js";
import { ConfigurationError } from "../errors.js";
import { checkDataset } from "./dataset.js";
import { checkSendable } from "./workers/thread-codec.js";
import { importModule } from "./workers/typescript.js";

/** internal: how a worker makes a value again: what to import, what of it to call, with what. */
export interface ModuleReference {
  readonly url: string;
  /** Name of the class or function. */
  readonly name: string;
  readonly isClass: boolean;
  /** Arguments of the constructor, or those that follow what the loader passes. */
  readonly args: readonly unknown[];
}

const references = new WeakMap<object, ModuleReference>();

/** internal: where a value was said to come from, or undefined. */
export function referenceOf(value: object): ModuleReference | undefined {
  return references.get(value);
}

/**
 * A dataset that loader workers can make too: `make(...args)`, or `new make(...args)` for a class, here and in each worker.
 * `module` is the file that exports `make`, which may not be the script that runs; `args` are plain data or tensors. Returns what
 * `make` returns: the dataset, or a promise of it.
 *
 *     import { Images } from "./images.js";
 *     const dataset = data.workerDataset(new URL("./images.js", import.meta.url), Images, "train");
 *     const loader = new data.DataLoader(dataset, { batchSize: 32, numWorkers: 2 });
 */
export function workerDataset<A extends unknown[], D extends object>(
  module: URL | string,
  make: new (...args: A) => D,
  ...args: A
): D;
export function workerDataset<A extends unknown[], R extends object>(
  module: URL | string,
  make: (...args: A) => R,
  ...args: A
): R;
export function workerDataset(module: URL | string, make: unknown, ...args: unknown[]): unknown {
  const example = 'data.workerDataset(new URL("./images.js", import.meta.url), Images, "train")';
  const reference = makeReference(module, make, args, example);
  const remember = (dataset: object): object => {
    checkDataset(dataset);
    references.set(dataset, reference);
    return dataset;
  };
  const made = reference.isClass
    ? new (make as new (...args: unknown[]) => object)(...args)
    : (make as (...args: unknown[]) => object)(...args);
  return made instanceof Promise ? made.then(remember) : remember(made);
}

/**
 * A function that loader workers can call too, for `workerInitFn` and `collateFn`. `module` is the file that exports `fn`; `args`, plain
 * data or tensors, follow what the loader passes.
 *
 *     import { pad } from "./pad.js";
 *     const collateFn = data.workerFunction(new URL("./pad.js", import.meta.url), pad, 128); // pad(samples, 128)
 */
export function workerFunction<X, A extends unknown[], R>(
  module: URL | string,
  fn: (first: X, ...args: A) => R,
  ...args: A
): (first: X) => R {
  const reference = makeReference(
    module,
    fn,
    args,
    'data.workerFunction(new URL("./collate.js", import.meta.url), collate)',
  );
  const made = (first: X): R => fn(first, ...args);
  references.set(made, reference);
  return made;
}

/** internal: imports what a reference names. */
export async function importReferenced(reference: ModuleReference): Promise<(...args: unknown[]) => unknown> {
  const exports = await importModule(reference.url);
  const fallback = exports.default as Record<string, unknown> | undefined;
  const candidates = [exports[reference.name], fallback, fallback?.[reference.name], ...Object.values(exports)];
  const found = candidates.find(
    (value) => typeof value === "function" && (value === exports[reference.name] || value.name === reference.name),
  );
  if (found !== undefined) return found as (...args: unknown[]) => unknown;
  const names = Object.keys(exports);
  throw new ConfigurationError(
    `${fileURLToPath(reference.url)} does not export \`${reference.name}\`, which a loader worker needs: ${names.length === 0 ? "it exports nothing" : `it exports ${names.join(", ")}`}.`,
    { hint: `Write \`export\` before ${reference.isClass ? "class" : "function"} ${reference.name} there.` },
  );
}

/** internal: makes the dataset or calls the function that a reference names, with `first` before the arguments of the reference. */
export async function followReference(reference: ModuleReference, ...first: unknown[]): Promise<unknown> {
  const make = await importReferenced(reference);
  const args = [...first, ...reference.args];
  return reference.isClass ? new (make as unknown as new (...args: unknown[]) => unknown)(...args) : make(...args);
}

function makeReference(module: unknown, make: unknown, args: readonly unknown[], example: string): ModuleReference {
  const url = moduleUrl(module, example);
  if (typeof make !== "function")
    throw typeError("make", "a class or function that the module exports", make, `Type \`${example}\`.`);
  if (make.name === "" || make.name.startsWith("bound ")) {
    throw new ConfigurationError(
      "A loader worker finds a class or function by its name, but the one given has none of its own.",
      {
        hint: `Export it with a name and pass it itself: \`${example}\`.`,
      },
    );
  }
  args.forEach((arg, i) => {
    checkSendable(arg, `argument ${i} of ${make.name}`);
  });
  return { url, name: make.name, isClass: /^class\b/.test(Function.prototype.toString.call(make)), args };
}

function moduleUrl(module: unknown, example: string): string {
  let url: URL | undefined;
  if (module instanceof URL) url = module;
  else if (typeof module === "string" && module.startsWith("file:")) url = new URL(module);
  else if (typeof module === "string" && isAbsolute(module)) url = pathToFileURL(module);
  if (url?.protocol !== "file:") {
    const hint =
      typeof module === "string" && /^\.{0,2}\//.test(module)
        ? `Type \`new URL(${JSON.stringify(module)}, import.meta.url)\`, so that it is found from any folder.`
        : `Type \`${example}\`; the file of a package is \`import.meta.resolve("package")\`.`;
    throw typeError("module", "the URL of a file", module, hint);
  }
  const found = [url.href, ...otherSpellings(url.href)].find((href) => existsSync(fileURLToPath(href)));
  if (found === undefined) {
    throw new ConfigurationError(`Loader workers cannot import ${fileURLToPath(url)}: there is no such file.`, {
      code: "ENOENT",
      hint: "Give the file that exports the class or function, relative to this one.",
    });
  }
  if (isMainScript(found)) {
    throw new ConfigurationError(
      `Loader workers cannot import ${fileURLToPath(found)}: it is the script that runs, and each worker would run it again.`,
      { hint: "Move the dataset to a file of its own, import it from there, and give that file." },
    );
  }
  // Loaders of TypeScript map `.js` to `.ts` themselves; only Node's own type stripping needs the true name.
  return found;
}

// A file is often named as it is compiled, and runs as it was written: with tsx or Node's type stripping.
function otherSpellings(href: string): string[] {
  const match = href.match(/^(.*)\.([cm]?)([jt])s(x?)$/);
  if (match === null) return [];
  const [, stem, kind, language] = match;
  const other = language === "j" ? "t" : "j";
  return [`${stem}.${kind}${other}s`, `${stem}.${kind}${other}sx`];
}

function isMainScript(href: string): boolean {
  const script = process.argv[1];
  if (script === undefined) return false;
  try {
    return realpathSync(fileURLToPath(href)) === realpathSync(script);
  } catch {
    return false;
  }
}

/** internal: refuses a function of the user's that workers would have to call but cannot. */
export function cannotMoveFunction(option: string, fn: unknown): ConfigurationError {
  return new ConfigurationError(
    `\`${option}\` (${describe(fn)}) has to run in the worker threads, which share no functions with this one.`,
    {
      hint: `Export it from a file of its own and type \`${option}: data.workerFunction(new URL("./workers.js", import.meta.url), ${functionName(fn)})\`.`,
    },
  );
}

function functionName(fn: unknown): string {
  const { name } = fn as { name?: string };
  return name ? name : "initWorker";
}
