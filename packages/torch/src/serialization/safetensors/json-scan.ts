// Reads JSON that may be hostile. Unlike JSON.parse it refuses equal keys, numbers other than whole ones, deep nesting and objects
// with too many keys, and returns objects as Maps, so that no key means anything.

const deepest = 8;
const numberAt = /-?(?:0|[1-9]\d{0,15})(?![\d.eE])/y;

/** internal: the value in a text; `fault` makes the error for what is wrong. */
export function scanJson(text: string, mostKeys: number, fault: (what: string) => Error): unknown {
  return new Scanner(text, mostKeys, fault).scan();
}

class Scanner {
  #at = 0;

  constructor(
    readonly text: string,
    readonly mostKeys: number,
    readonly fault: (what: string) => Error,
  ) {}

  scan(): unknown {
    const result = this.#value(0);
    this.#skip();
    if (this.#at !== this.text.length) throw this.fault(`something follows its end at character ${this.#at}`);
    return result;
  }

  #value(depth: number): unknown {
    if (depth > deepest) throw this.fault(`it is nested more than ${deepest} deep`);
    this.#skip();
    switch (this.text[this.#at]) {
      case '"':
        return this.#string();
      case "{":
        return this.#object(depth);
      case "[":
        return this.#list(depth);
      default:
        return this.#number();
    }
  }

  #object(depth: number): Map<string, unknown> {
    const object = new Map<string, unknown>();
    this.#items("}", () => {
      const key = this.#string();
      if (object.has(key)) throw this.fault(`the key ${JSON.stringify(key.slice(0, 100))} appears twice`);
      if (object.size >= this.mostKeys) throw this.fault(`an object has more than ${this.mostKeys} keys`);
      this.#expect(":");
      object.set(key, this.#value(depth + 1));
    });
    return object;
  }

  #list(depth: number): unknown[] {
    const list: unknown[] = [];
    this.#items("]", () => list.push(this.#value(depth + 1)));
    return list;
  }

  /** What stands between two brackets, with commas in between. */
  #items(end: string, item: () => void): void {
    this.#at++;
    this.#skip();
    if (this.text[this.#at] === end) {
      this.#at++;
      return;
    }
    for (;;) {
      item();
      this.#skip();
      if (this.text[this.#at] !== ",") break;
      this.#at++;
      this.#skip();
    }
    this.#expect(end);
  }

  // By hand: a regular expression runs out of stack on a text of some megabytes.
  #string(): string {
    const start = this.#at;
    const short = this.#shortString();
    if (short !== null) return short;
    if (this.text[start] !== '"') throw this.fault(`expected text at character ${start}`);
    let end = start;
    for (let escaped = true; escaped; ) {
      end = this.text.indexOf('"', end + 1);
      if (end < 0) throw this.fault(`a text does not end, from character ${start}`);
      let slash = end - 1;
      while (this.text[slash] === "\\") slash--;
      escaped = (end - slash) % 2 === 0;
    }
    this.#at = end + 1;
    try {
      return JSON.parse(this.text.slice(start, this.#at)) as string;
    } catch {
      throw this.fault(`there is a broken text at character ${start}`);
    }
  }

  /** Texts of a few plain letters, as most are; null for others. */
  #shortString(): string | null {
    const { text } = this;
    const start = this.#at + 1;
    if (text[start - 1] !== '"') return null;
    for (let at = start; at < start + 64; at++) {
      const code = text.charCodeAt(at);
      if (code === 0x22) {
        this.#at = at + 1;
        return text.slice(start, at);
      }
      // Escapes, control characters, and the end of the text.
      if (code === 0x5c || !(code >= 0x20)) return null;
    }
    return null;
  }

  #number(): number {
    numberAt.lastIndex = this.#at;
    const found = numberAt.exec(this.text)?.[0];
    if (found === undefined) throw this.fault(`expected a value at character ${this.#at}`);
    this.#at += found.length;
    return Number(found);
  }

  #expect(symbol: string): void {
    this.#skip();
    if (this.text[this.#at] !== symbol) throw this.fault(`expected ${symbol} at character ${this.#at}`);
    this.#at++;
  }
  #skip(): void {
    while (" \t\r\n".includes(this.text[this.#at] ?? "x")) this.#at++;
  }
}
