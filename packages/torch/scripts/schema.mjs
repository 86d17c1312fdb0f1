// Reads operator schemas as LibTorch prints them: `aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor`.

/**
 * @typedef {{ type: string, name: string, default: string | undefined, keywordOnly: boolean, written: boolean }} Argument
 *   `type` without alias annotations; `written` is true for what the operator changes (`Tensor(a!)`).
 * @typedef {{ name: string, overload: string, args: Argument[], returns: { type: string, written: boolean }[], text: string }} Schema
 */

/** Splits at commas outside of brackets and strings. */
function splitList(text) {
  const parts = [];
  let depth = 0;
  let quoted = false;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === "\\") i++;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "(" || c === "[") depth++;
    else if (c === ")" || c === "]") depth--;
    else if (c === "," && depth === 0) {
      parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  const last = text.slice(start).trim();
  return last === "" ? parts : [...parts, last];
}

const annotation = /\([\w|]+(!?)(?: -> [\w|*]+)?\)/;

/** `Tensor(a!)[]` -> `{ type: "Tensor[]", written: true }`. */
function parseType(text) {
  const alias = annotation.exec(text);
  return { type: text.replace(annotation, "").trim(), written: alias !== null && alias[1] === "!" };
}

function parseArgument(text, keywordOnly) {
  const equals = text.indexOf("=");
  const declared = equals < 0 ? text : text.slice(0, equals);
  const space = declared.lastIndexOf(" ");
  return {
    ...parseType(declared.slice(0, space)),
    name: declared.slice(space + 1),
    default: equals < 0 ? undefined : text.slice(equals + 1),
    keywordOnly,
  };
}

// A result may have a name: `Tensor(a!) values`.
function parseReturns(text) {
  const list = text.startsWith("(") ? splitList(text.slice(1, -1)) : [text];
  return list.map((item) => parseType(item.replace(/(?<=[\w)\]?]) \w+$/, "")));
}

/** @returns {Schema} */
export function parseSchema(line) {
  const head = /^aten::(\w+)(?:\.(\w+))?\(/.exec(line);
  const arrow = line.lastIndexOf(") -> ", matchingClose(line));
  if (!head || arrow < 0) throw new Error(`Not an ATen schema: ${line}`);
  const args = [];
  let keywordOnly = false;
  for (const part of splitList(line.slice(head[0].length, arrow))) {
    if (part === "*") keywordOnly = true;
    else args.push(parseArgument(part, keywordOnly));
  }
  return {
    name: head[1],
    overload: head[2] ?? "",
    args,
    returns: parseReturns(line.slice(arrow + 5)),
    text: line,
  };
}

// Where the argument list ends.
function matchingClose(line) {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < line.length; i++) {
    const c = line[i];
    if (quoted) {
      if (c === "\\") i++;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "(") depth++;
    else if (c === ")" && --depth === 0) return i;
  }
  return -1;
}

/** The JavaScript spelling: `log_softmax` -> `logSoftmax`; an underscore at either end stays. The addon does the same. */
export function camelCase(name) {
  return name.replace(/(?<!^)_+([^_])/g, (_, letter) => letter.toUpperCase());
}
