// Reads JSON that may be hostile. Unlike JSON.parse it refuses equal keys, numbers other than whole ones, and deep nesting, and
// returns objects as Maps, so that no key means anything.

const deepest = 8;
const stringAt = /"(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const numberAt = /-?(?:0|[1-9]\d*)(?![\d.eE])/y;
const spaceAt = /[ \t\r\n]*/y;

/** internal: the value in a text; `fault` makes the error for what is wrong. */
export function scanJson(text: string, fault: (what: string) => Error): unknown {
  let at = 0;
  const skip = (): void => {
    spaceAt.lastIndex = at;
    spaceAt.test(text);
    at = spaceAt.lastIndex;
  };
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0] ?? null;
    if (found !== null) at += found.length;
    return found;
  };
  const expect = (symbol: string): void => {
    skip();
    if (text[at] !== symbol) throw fault(`expected ${symbol} at character ${at}`);
    at++;
  };
  // True when another item follows, false at the end of the list.
  const goesOn = (end: string): boolean => {
    skip();
    if (text[at] === ",") {
      at++;
      skip();
      return true;
    }
    expect(end);
    return false;
  };
  const stringHere = (): string => {
    const found = match(stringAt);
    if (found === null) throw fault(`expected text at character ${at}`);
    return JSON.parse(found) as string;
  };
  const value = (depth: number): unknown => {
    if (depth > deepest) throw fault(`it is nested more than ${deepest} deep`);
    skip();
    const symbol = text[at];
    if (symbol === '"') return stringHere();
    if (symbol === "{") {
      at++;
      const object = new Map<string, unknown>();
      skip();
      if (text[at] === "}") {
        at++;
        return object;
      }
      do {
        const key = stringHere();
        if (object.has(key)) throw fault(`the key ${JSON.stringify(key.slice(0, 100))} appears twice`);
        expect(":");
        object.set(key, value(depth + 1));
      } while (goesOn("}"));
      return object;
    }
    if (symbol === "[") {
      at++;
      const list: unknown[] = [];
      skip();
      if (text[at] === "]") {
        at++;
        return list;
      }
      do list.push(value(depth + 1));
      while (goesOn("]"));
      return list;
    }
    const number = match(numberAt);
    if (number === null) throw fault(`expected a value at character ${at}`);
    return Number(number);
  };
  const result = value(0);
  skip();
  if (at !== text.length) throw fault(`something follows its end at character ${at}`);
  return result;
}
