// Pixels as a PNG file.
import { builtins } from "@fabric-ts/torch/base";
import { crc32 } from "./checksum.js";

/** internal: rows of pixels, one byte for each channel. */
export interface Pixels {
  height: number;
  width: number;
  /** 1 grey, 2 grey and opacity, 3 red, green and blue, 4 these and opacity. */
  channels: 1 | 2 | 3 | 4;
  bytes: Uint8Array;
}

const colourTypes = { 1: 0, 2: 4, 3: 2, 4: 6 } as const;

/** internal: a PNG file with these pixels. */
export function encodePng({ height, width, channels, bytes }: Pixels): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Eight bits a channel; the rest are the only values that the format allows, and no interlacing.
  header.set([8, colourTypes[channels], 0, 0, 0], 8);
  // Each row begins with its filter: none.
  const rowBytes = width * channels;
  const rows = Buffer.alloc(height * (rowBytes + 1));
  for (let y = 0; y < height; y++) {
    rows.set(bytes.subarray(y * rowBytes, (y + 1) * rowBytes), y * (rowBytes + 1) + 1);
  }
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", builtins.zlib.deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Uint8Array): Buffer {
  const result = Buffer.alloc(data.length + 12);
  result.writeUInt32BE(data.length, 0);
  result.write(type, 4, "latin1");
  result.set(data, 8);
  result.writeUInt32BE(crc32(result.subarray(4, 8 + data.length)), 8 + data.length);
  return result;
}
