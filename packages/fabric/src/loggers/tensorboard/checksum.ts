// The two cyclic checksums of this folder: CRC-32 in PNG files, CRC-32C in records of events.

function makeTable(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? polynomial ^ (c >>> 1) : c >>> 1;
    return c;
  });
}

function checksum(table: Uint32Array, bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = (table[(c ^ (bytes[i] as number)) & 0xff] as number) ^ (c >>> 8);
  return ~c >>> 0;
}

const ieee = makeTable(0xedb88320);
const castagnoli = makeTable(0x82f63b78);

/** internal: the checksum of PNG. */
export function crc32(bytes: Uint8Array): number {
  return checksum(ieee, bytes);
}

/** internal: the checksum of TensorFlow's records: CRC-32C, turned by 15 bits, plus a constant. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = checksum(castagnoli, bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
