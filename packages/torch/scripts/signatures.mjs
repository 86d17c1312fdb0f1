// Turns operator schemas into TypeScript signatures and doc comments.
import { excluded, excludedOverloads, functionsOnly, reasonFor, unsupportedTypes } from "./exclusions.mjs";
import { camelCase } from "./schema.mjs";

/** @typedef {import("./schema.mjs").Schema} Schema */

const plainTypes = {
  Tensor: "Tensor",
  Scalar: "Scalar",
  int: "number",
  SymInt: "number",
  float: "number",
  bool: "boolean",
  str: "string",
  ScalarType: "Dtype",
  Device: "Device",
  Layout: "Layout",
  MemoryFormat: "MemoryFormat",
  Generator: "Generator",
};

// 64-bit bounds, which may lie beyond what a number holds exactly.
const wideIntegers = new Set(["from", "to", "low", "high"]);

/** The TypeScript type of an argument. */
export function argumentType({ type, name }) {
  if (type.endsWith("?")) return `${argumentType({ type: type.slice(0, -1), name })} | null`;
  const list = /^(.*)\[(\d*)\]$/.exec(type);
  if (list) {
    const item = argumentType({ type: list[1], name });
    const array = `readonly ${item.includes(" ") ? `(${item})` : item}[]`;
    return list[2] === "" || list[1] === "Tensor" ? array : `${item} | ${array}`;
  }
  if (type === "int" && wideIntegers.has(name)) return "number | bigint";
  const plain = plainTypes[type];
  if (!plain) throw new Error(`No TypeScript type for the ATen type ${type}.`);
  return plain;
}

function resultType(type) {
  if (type.endsWith("?")) return `${resultType(type.slice(0, -1))} | null`;
  const list = /^(.*)\[\d*\]$/.exec(type);
  if (list) {
    const item = resultType(list[1]);
    return item.includes(" ") ? `(${item})[]` : `${item}[]`;
  }
  if (type === "Scalar") return "number";
  const plain = plainTypes[type];
  if (!plain) throw new Error(`No TypeScript type for the ATen result ${type}.`);
  return plain;
}

/** The TypeScript type of the results; `self` is what an in-place operator returns. */
export function returnType(schema, self = "Tensor") {
  const { returns } = schema;
  if (returns.length === 0) return "void";
  const inPlace =
    returns.length === 1 && returns[0].written && schema.args[0]?.written && schema.args[0].type === "Tensor";
  if (inPlace && !schema.args.some((a) => a.keywordOnly && a.written)) return self;
  const types = returns.map(({ type }) => resultType(type));
  return types.length === 1 ? types[0] : `[${types.join(", ")}]`;
}

const reserved = new Set([
  "var",
  "function",
  "default",
  "in",
  "new",
  "delete",
  "this",
  "with",
  "class",
  "arguments",
  "eval",
]);

/** A name that may be declared: reserved words get an underscore. */
export function declarable(name) {
  return reserved.has(name) ? `${name}_` : name;
}

function isSelf(argument) {
  return argument !== undefined && argument.name === "self" && argument.type === "Tensor" && !argument.keywordOnly;
}

/** True for overloads that become signatures. */
export function isSupported(schema) {
  if (reasonFor(excludedOverloads, schema.overload)) return false;
  return ![...schema.args, ...schema.returns].some(({ type }) => unsupportedTypes.test(type));
}

// Elementwise operators take a number for `other` even where ATen has no overload for it: the addon wraps it.
function widen(schemas) {
  const hasScalar = schemas.some((s) => s.args.some((a) => a.name === "other" && a.type === "Scalar"));
  return (argument) =>
    argument.name === "other" && argument.type === "Tensor" && !hasScalar ? "Tensor | Scalar" : argumentType(argument);
}

function isFactory(schema) {
  const named = (name) => schema.args.some((a) => a.keywordOnly && a.name === name);
  return named("dtype") && named("layout") && named("device");
}

// The keys of a trailing options object.
function optionKeys(args, schema, typeOf, outs) {
  const keys = args.map((a) => `${camelCase(a.name)}${a.default === undefined ? "" : "?"}: ${typeOf(a)}`);
  for (const out of outs) keys.push(`${camelCase(out.name)}?: ${argumentType(out)}`);
  if (isFactory(schema)) keys.push("requiresGrad?: boolean");
  return keys;
}

/**
 * All call signatures of one overload: everything by position with the keyword-only rest in an object, then one for each
 * place from which the arguments may be given by name.
 */
export function signatures(schema, { asMethod, typeOf, outs = [] }) {
  const all = asMethod ? schema.args.slice(1) : schema.args;
  const positional = all.filter((a) => !a.keywordOnly);
  const keyword = all.filter((a) => a.keywordOnly);
  const result = returnType(schema, asMethod ? "this" : "Tensor");
  const write = (leading, options, mayOmit) => {
    const parts = leading.slice();
    if (options.length > 0) parts.push(`options${mayOmit ? "?" : ""}: { ${options.join("; ")} }`);
    return `(${parts.join(", ")}): ${result}`;
  };

  // A required argument cannot follow an optional one, nor can required options.
  const keys = optionKeys(keyword, schema, typeOf, outs);
  const optionsRequired = keyword.some((a) => a.default === undefined);
  const lastRequired = optionsRequired ? positional.length : positional.findLastIndex((a) => a.default === undefined);
  const byPosition = positional.map(
    (a, i) => `${declarable(camelCase(a.name))}${a.default !== undefined && i > lastRequired ? "?" : ""}: ${typeOf(a)}`,
  );
  const lines = [write(byPosition, keys, !optionsRequired)];

  const spread = positional[0];
  if (
    positional.length === 1 &&
    /^(int|SymInt)\[\]$/.test(spread.type) &&
    !optionsRequired &&
    (asMethod || isFactory(schema))
  ) {
    const name = declarable(camelCase(spread.name));
    lines.push(`(...${name}: number[]): ${result}`);
    if (keys.length > 0) lines.push(`(...${name}: [...number[], { ${keys.join("; ")} }]): ${result}`);
  }

  const required = positional.map((a) => `${declarable(camelCase(a.name))}: ${typeOf(a)}`);
  const first = !asMethod && positional[0]?.type === "Tensor" ? 1 : 0;
  for (let cut = positional.length - 1; cut >= first; cut--) {
    const named = optionKeys([...positional.slice(cut), ...keyword], schema, typeOf, outs);
    lines.push(write(required.slice(0, cut), named, false));
  }
  return lines;
}

const argumentKey = (a) => `${a.type} ${a.name}`;

// An `out` overload that only adds its results to the arguments of another becomes options of that other one.
function joinOuts(schemas) {
  const joined = new Map(schemas.map((s) => [s, []]));
  const isOut = (s) => s.args.some((a) => a.keywordOnly && a.written);
  for (const out of schemas.filter(isOut)) {
    const inputs = out.args.filter((a) => !(a.keywordOnly && a.written)).map(argumentKey);
    const partner = schemas.find((s) => !isOut(s) && s.args.map(argumentKey).join() === inputs.join());
    if (!partner) continue;
    if (joined.get(partner).length === 0)
      joined.set(
        partner,
        out.args.filter((a) => a.keywordOnly && a.written),
      );
    joined.delete(out);
  }
  return joined;
}

/** Keeps of the same overload in several versions what the newest does not cover. */
export function mergeVersions(versions) {
  const merged = new Map();
  for (const { version, schemas } of versions) {
    for (const schema of schemas) {
      const key = `${schema.name}.${schema.overload}`;
      const entry = merged.get(key);
      const shape = `${schema.args.map((a) => `${argumentKey(a).replace("SymInt", "int")}=${a.default}`).join()}`;
      if (!entry) merged.set(key, { since: version, shapes: new Map([[shape, { schema, since: version }]]) });
      else if (entry.shapes.has(shape)) entry.shapes.get(shape).schema = schema;
      else entry.shapes.set(shape, { schema, since: version });
    }
  }
  const newestNames = new Set(versions.at(-1).schemas.map((schema) => schema.name));
  const operators = new Map();
  for (const { since, shapes } of merged.values()) {
    const kept = [...shapes.values()];
    const newest = kept.at(-1);
    for (const item of kept) {
      if (item !== newest && covers(newest.schema, item.schema)) continue;
      const { name } = item.schema;
      if (!operators.has(name)) operators.set(name, { name, since, isGone: !newestNames.has(name), overloads: [] });
      const operator = operators.get(name);
      operator.overloads.push({
        schema: item.schema,
        since: covers(newest.schema, kept[0].schema) ? since : item.since,
      });
      if (compareVersions(since, operator.since) < 0) operator.since = since;
    }
  }
  return [...operators.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

// True when every call that fits `older` also fits `newer`, with the same results.
function covers(newer, older) {
  const returns = (s) => s.returns.map((r) => r.type).join();
  if (returns(newer) !== returns(older)) return false;
  const positions = newer.args.filter((a) => !a.keywordOnly);
  return (
    older.args.every((a, i) => {
      const other = a.keywordOnly ? newer.args.find((b) => b.keywordOnly && b.name === a.name) : positions[i];
      if (!other || other.name !== a.name) return false;
      const type = (t) => t.replace("SymInt", "int");
      const wider = type(other.type) === type(a.type) || type(other.type) === `${type(a.type)}?`;
      return wider && (a.default === undefined || other.default !== undefined);
    }) && newer.args.every((b) => b.default !== undefined || older.args.some((a) => a.name === b.name))
  );
}

/** internal: orders "1.13" before "2.6". */
export function compareVersions(a, b) {
  const [x, y] = [a, b].map((v) => v.split(".").map(Number));
  return x[0] - y[0] || x[1] - y[1];
}

function documentation(operator, overloads, { oldest, newest }, link, indent) {
  const lines = [link];
  if (operator.since !== oldest) {
    lines.push("", `Needs a LibTorch newer than ${oldest}; ${operator.since} has it.`);
  }
  if (operator.isGone) lines.push("", `LibTorch ${newest} no longer has it.`);
  lines.push("");
  for (const { schema, since } of overloads) {
    const note = since === operator.since ? "" : `   (LibTorch ${since})`;
    lines.push(`    ${schema.text.slice("aten::".length).replaceAll("*/", "* /")}${note}`);
  }
  return [`${indent}/**`, ...lines.map((l) => `${indent} * ${l}`.trimEnd()), `${indent} */`].join("\n");
}

const pages = "https://pytorch.org/docs/stable/generated";

function functionLink(name, python) {
  if (python.functions.includes(name)) return `PyTorch's [torch.${name}](${pages}/torch.${name}.html).`;
  if (python.functional.includes(name)) {
    return `PyTorch's [torch.nn.functional.${name}](${pages}/torch.nn.functional.${name}.html).`;
  }
  const space = /^(linalg|fft)_(\w+)$/.exec(name);
  if (space) return `PyTorch's [torch.${space[1]}.${space[2]}](${pages}/torch.${space[1]}.${space[2]}.html).`;
  const special = /^special_(\w+)$/.exec(name);
  if (special) {
    return `PyTorch's [torch.special.${special[1]}](https://pytorch.org/docs/stable/special.html#torch.special.${special[1]}).`;
  }
  return `ATen's \`${name}\`.`;
}

function methodLink(name, python) {
  if (python.methods.includes(name)) return `PyTorch's [Tensor.${name}](${pages}/torch.Tensor.${name}.html).`;
  return functionLink(name, python);
}

// Signatures by position come first: an object of named arguments must never shadow a tensor.
function ordered(schemas, asMethod, typeOf, outs) {
  const lists = schemas.map((schema) => signatures(schema, { asMethod, typeOf, outs: outs.get(schema) ?? [] }));
  return [...new Set([...lists.map((l) => l[0]), ...lists.flatMap((l) => l.slice(1))])];
}

function functionText(operator, range, python) {
  const overloads = operator.overloads.filter(({ schema }) => isSupported(schema));
  if (overloads.length === 0) return undefined;
  const schemas = overloads.map((o) => o.schema);
  const outs = joinOuts(schemas);
  const lines = ordered([...outs.keys()], false, widen(schemas), outs);
  const name = camelCase(operator.name);
  const doc = documentation(operator, overloads, range, functionLink(operator.name, python), "");
  const type = lines.length === 1 ? arrowType(lines[0]) : `{\n${lines.map((l) => `  ${l};`).join("\n")}\n}`;
  const local = declarable(name);
  const declaration = `${local === name ? "export " : ""}const ${local}: ${type} = op("${operator.name}");`;
  return [doc, declaration, ...(local === name ? [] : [`export { ${local} as ${name} };`])].join("\n");
}

// `(a: Tensor): Tensor` -> `(a: Tensor) => Tensor`.
function arrowType(signature) {
  const at = signature.lastIndexOf("): ");
  return `${signature.slice(0, at)}) => ${signature.slice(at + 3)}`;
}

function methodText(operator, range, python) {
  const isOut = (s) => s.args.some((a) => a.keywordOnly && a.written);
  const overloads = operator.overloads.filter(
    ({ schema }) => isSupported(schema) && isSelf(schema.args[0]) && !isOut(schema),
  );
  if (overloads.length === 0) return undefined;
  const schemas = overloads.map((o) => o.schema);
  const lines = ordered(schemas, true, widen(schemas), new Map());
  const doc = documentation(operator, overloads, range, methodLink(operator.name, python), "  ");
  return [doc, ...lines.map((l) => `  ${camelCase(operator.name)}${l};`)].join("\n");
}

const head = `// Generated by packages/torch/scripts/generate-ops.mjs from packages/torch/schemas; do not edit.
// Signatures of ATen's operators as functions and as methods of Tensor. Nothing is resolved before its first call.
import type { Device, Dtype } from "./dtype.js";
import { installMethods } from "./methods.js";
import { type Operator, operator, type Scalar } from "./ops.js";
import type { Generator } from "./random.js";
import type { Tensor } from "./tensor.js";

/** How a tensor's elements are laid out: one by one, or only those that are not zero. */
export type Layout = "strided" | "sparse" | "sparse_coo" | "sparse_csr" | "mkldnn";

/** The order of a dense tensor's dimensions in memory. */
export type MemoryFormat = "contiguous" | "channels_last" | "channels_last_3d" | "preserve";

// The signatures are checked against the schemas by the generator, not by the compiler.
// biome-ignore lint/suspicious/noExplicitAny: any operator takes part in any of the types below
const op = (name: string): any => operator("aten", name) satisfies Operator;
`;

/**
 * The whole text of ops.generated.ts.
 * @param {{ version: string, schemas: Schema[] }[]} versions oldest first
 * @param {{ functions: string[], methods: string[], functional: string[] }} python what PyTorch documents
 */
export function generate(versions, python) {
  const range = { oldest: versions[0].version, newest: versions.at(-1).version };
  const operators = mergeVersions(versions).filter((o) => !reasonFor(excluded, o.name));
  const functions = operators.map((o) => functionText(o, range, python)).filter(Boolean);
  const withMethod = operators
    .filter((o) => !reasonFor(functionsOnly, o.name))
    .map((o) => ({ name: o.name, text: methodText(o, range, python) }))
    .filter((m) => m.text);
  return [
    head,
    "/** The operators whose first argument is a tensor, as methods. In-place ones return the tensor itself. */",
    `export interface TensorMethods {\n${withMethod.map((m) => m.text).join("\n")}\n}\n`,
    `installMethods(\n${wrapWords(withMethod.map((m) => m.name))},\n);\n`,
    functions.join("\n\n"),
    "",
  ].join("\n");
}

// One long string in lines: parsing it costs less than a literal array.
function wrapWords(words) {
  const lines = [""];
  for (const word of words) {
    if (lines[lines.length - 1].length + word.length > 108) lines.push("");
    lines[lines.length - 1] += `${word} `;
  }
  return lines.map((line, i) => `  ${i ? "  " : ""}"${i === lines.length - 1 ? line.trimEnd() : line}"`).join(" +\n");
}
