// The checksum of zip archives: zlib's own where Node offers it (20.15, 22.2 and later), else tables of eight bytes a step.
import { builtins } from "../builtins.js";

let tables: Uint32Array[] | undefined;

// Table k maps a byte to its share of the checksum when k more bytes follow it.
function makeTables(): Uint32Array[] {
  const first = new Uint32Array(256);
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    first[n] = c;
  }
  const made = [first];
  for (let k = 1; k < 8; k++) {
    const before = made[k - 1];
    made.push(before.map((c) => first[c & 0xff] ^ (c >>> 8)));
  }
  return made;
}

/** internal: CRC-32 in plain JavaScript; `value` is the checksum of what came before. */
export function crc32Tables(bytes: Uint8Array, value = 0): number {
  tables ??= makeTables();
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  const n = bytes.length;
  let c = ~value;
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    c ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    c =
      t7[c & 0xff] ^
      t6[(c >>> 8) & 0xff] ^
      t5[(c >>> 16) & 0xff] ^
      t4[c >>> 24] ^
      t3[bytes[i + 4]] ^
      t2[bytes[i + 5]] ^
      t1[bytes[i + 6]] ^
      t0[bytes[i + 7]];
  }
  for (; i < n; i++) c = t0[(c ^ bytes[i]) & 0xff] ^ (c >>> 8);
  return ~c >>> 0;
}

type Checksum = (bytes: Uint8Array, value?: number) => number;
let fastest: Checksum | undefined;

/** internal: CRC-32 of `bytes`, continuing from `value`. */
export function crc32(bytes: Uint8Array, value?: number): number {
  fastest ??= (builtins.zlib as unknown as { crc32?: Checksum }).crc32 ?? crc32Tables;
  return fastest(bytes, value);
}
