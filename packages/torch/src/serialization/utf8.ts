// UTF-8 as Python's pickles use it: lone surrogates pass through as three bytes ("surrogatepass").

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const loneSurrogate = /\p{Surrogate}/u;

/** internal: the bytes of a string. */
export function encodeUtf8(text: string): Buffer {
  if (!loneSurrogate.test(text)) return Buffer.from(text, "utf8");
  const bytes: number[] = [];
  for (const symbol of text) {
    const code = symbol.codePointAt(0) as number;
    if (code < 0xd800 || code > 0xdfff) bytes.push(...Buffer.from(symbol, "utf8"));
    else bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
  }
  return Buffer.from(bytes);
}

/** internal: the string in the bytes, or null when they are no UTF-8 (lone surrogates allowed). */
export function decodeUtf8(bytes: Uint8Array): string | null {
  // Short ASCII text, the usual case, without the cost of entering the decoder.
  if (bytes.length <= 24) {
    let text = "";
    let i = 0;
    for (; i < bytes.length && bytes[i] < 0x80; i++) text += String.fromCharCode(bytes[i]);
    if (i === bytes.length) return text;
  }
  try {
    return strict.decode(bytes);
  } catch {
    return decodeSurrogates(bytes);
  }
}

function decodeSurrogates(bytes: Uint8Array): string | null {
  const parts: string[] = [];
  let start = 0;
  const flush = (end: number): void => {
    if (end > start) parts.push(strict.decode(bytes.subarray(start, end)));
  };
  try {
    for (let i = 0; i + 2 < bytes.length; i++) {
      const [a, b, c] = [bytes[i], bytes[i + 1], bytes[i + 2]];
      if (a !== 0xed || b < 0xa0 || b > 0xbf || (c & 0xc0) !== 0x80) continue;
      flush(i);
      parts.push(String.fromCharCode(0xd000 | ((b & 0x3f) << 6) | (c & 0x3f)));
      start = i + 3;
      i += 2;
    }
    flush(bytes.length);
    return parts.join("");
  } catch {
    return null;
  }
}
