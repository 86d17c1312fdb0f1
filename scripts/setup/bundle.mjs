// Joins the compiled modules of a package to a few files in its `bundle` folder, which is what its users import: loading some hundred
// small modules takes longer than running them. The modules stay beside it in `dist`, with their types, and the tests look at them there.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";

/** Makes the bundle of one package, all of it or nothing. Rejects with esbuild's own words. */
export async function bundlePackage(folder) {
  const { build } = await import("esbuild"); // not there before the npm packages
  const dist = join(folder, "dist");
  const output = join(folder, "bundle");
  const modules = new Map(
    readdirSync(dist, { recursive: true, encoding: "utf8" })
      .filter((path) => /\.c?js$/.test(path))
      .map((path) => [path, readFileSync(join(dist, path), "utf8")]),
  );
  const entries = entryPoints(folder, modules);
  const { outputFiles } = await build({
    entryPoints: [
      ...entries.map((path) => ({ in: join(dist, path), out: path.slice(0, -3) })),
      { in: rootModule, out: rootModule },
    ],
    outdir: output,
    absWorkingDir: folder,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.12",
    packages: "external",
    sourcemap: true,
    sourcesContent: false,
    write: false,
    logLevel: "silent",
    define: { "import.meta.url": moduleUrl },
    plugins: [preparedModules(dist, modules)],
  });
  const files = new Set(outputFiles.map(({ path }) => relative(output, path)));
  for (const { path, text } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, path.endsWith(".js") ? withClassNames(text) : text);
  }
  // CommonJS, such as preloads, is not joined.
  const copies = [...modules.keys()].filter((path) => path.endsWith(".cjs")).flatMap((path) => [path, `${path}.map`]);
  for (const path of copies) {
    mkdirSync(dirname(join(output, path)), { recursive: true });
    copyFileSync(join(dist, path), join(output, path));
    files.add(path);
  }
  removeOthers(output, files);
}

/** Modules that are loaded by path: what package.json names, and each `new URL("./x.js", import.meta.url)` of a module of the package. */
function entryPoints(folder, modules) {
  const { exports = {}, bin = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const named = [...Object.values(exports).map((entry) => entry.default), ...Object.values(bin)]
    .filter((path) => path?.startsWith("./bundle/"))
    .map((path) => path.slice("./bundle/".length));
  const referred = [...modules].flatMap(([path, code]) =>
    [...code.matchAll(/new URL\("(\.[^"]+)", import\.meta\.url\)/g)].map(([, target]) =>
      posix.join(posix.dirname(path), target),
    ),
  );
  return [...new Set([...named, ...referred])].filter((path) => path.endsWith(".js") && modules.has(path));
}

const rootModule = "bundle-root";
const moduleUrl = "moduleUrl__";

/**
 * What joining would change is written into the modules as they are read: the place that `import.meta.url` names (in `bundle`, the one that
 * corresponds to the module's own in `dist`), and the names of exported functions and classes that two modules have.
 */
function preparedModules(dist, modules) {
  const shared = namesOfSeveral([...modules.values()]);
  return {
    name: "prepared-modules",
    setup(build) {
      build.onResolve({ filter: new RegExp(`^${rootModule}$`) }, ({ path }) => ({ path, namespace: rootModule }));
      // An entry point of its own, so that it lies in a shared file, and those are at the top of the folder.
      build.onLoad({ filter: /.*/, namespace: rootModule }, () => ({
        contents: 'const { url } = import.meta; export const root = new URL("./", url);',
      }));
      build.onResolve({ filter: /^\..*\.cjs$/ }, ({ path }) => ({
        errors: [{ text: `"${path}" cannot be joined: load it by createRequire(import.meta.url)("${path}")` }],
      }));
      build.onLoad({ filter: /\.js$/, namespace: "file" }, ({ path }) => {
        const name = relative(dist, path);
        return { contents: withNames(withModuleUrl(modules.get(name), name), shared), resolveDir: dirname(path) };
      });
    },
  };
}

// The lines stay what they are, for the source maps.
function withModuleUrl(code, name) {
  if (!code.includes("import.meta.url")) return code;
  const preparation = `import { root } from "${rootModule}"; const ${moduleUrl} = new URL("${name}", root).href; `;
  return code.replace(/^(#!.*\n)?/, (hashbang) => hashbang + preparation);
}

function withNames(code, shared) {
  const lines = [...code.matchAll(/^export (?:async )?(?:class|function\*?) (\w+)/gm)]
    .filter(([, name]) => shared.has(name))
    .map(([, name]) => `Object.defineProperty(${name}, "name", { value: "${name}" });\n`);
  return `${code}\n${lines.join("")}`;
}

function namesOfSeveral(codes) {
  const declaration = /^(?:export )?(?:async )?(?:class|function\*?|const|let|var) (\w+)/gm;
  const all = codes.flatMap((code) => [...code.matchAll(declaration)].map(([, name]) => name));
  return new Set(all.filter((name, i) => all.indexOf(name) !== i));
}

/** Gives classes that mention themselves their names back: `var Tensor = class _Tensor` would be seen in stack traces. */
function withClassNames(code) {
  const names = [...code.matchAll(/^var (\w+) = class _\1\b/gm)].map(([, name]) => name);
  return names.reduce((text, name) => text.replace(new RegExp(`(?<![.\\w$"'\`])_${name}\\b`, "g"), name), code);
}

/** Those of an earlier bundle; processes that still run have loaded what they need of it. */
function removeOthers(folder, kept) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !kept.has(relative(folder, path))) rmSync(path);
  }
}
