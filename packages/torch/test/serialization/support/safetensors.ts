// An independent reader and assembler of safetensors files, after the format's description: no code is shared with the package.

/** A tensor as the independent reader sees it. */
export interface Plain {
  dtype: string;
  shape: number[];
  bytes: Buffer;
}

/** What a file holds; throws for what the format's description rules out. */
export function readPlainly(file: Uint8Array): { metadata: Record<string, string>; tensors: Record<string, Plain> } {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = Number(view.getBigUint64(0, true));
  const text = new TextDecoder("utf-8", { fatal: true }).decode(file.subarray(8, 8 + length));
  if (!text.startsWith("{")) throw new Error("the header has to begin with {");
  const { __metadata__: metadata = {}, ...entries } = JSON.parse(text) as Record<string, never>;
  const data = Buffer.from(file.subarray(8 + length));
  const tensors: Record<string, Plain> = {};
  const described = Object.entries(
    entries as Record<string, { dtype: string; shape: number[]; data_offsets: number[] }>,
  );
  let covered = 0;
  for (const [name, { dtype, shape, data_offsets: offsets }] of described) {
    const [begin, end] = offsets as [number, number];
    const bits = Number(/\d+/.exec(dtype)?.[0] ?? 8);
    if (shape.reduce((product, size) => product * size, 1) * (bits / 8) !== end - begin)
      throw new Error(`${name}: size`);
    if (begin % (bits / 8) !== 0) throw new Error(`${name} is not aligned`);
    covered += end - begin;
    tensors[name] = { dtype, shape, bytes: data.subarray(begin, end) };
  }
  if (covered !== data.length) throw new Error(`${covered} of ${data.length} bytes belong to tensors`);
  return { metadata, tensors };
}

/** A file with any header, right or wrong. */
export function assemble(header: string | Uint8Array | object, data: Uint8Array | number = 0, length?: bigint): Buffer {
  const text = header instanceof Uint8Array ? header : typeof header === "string" ? header : JSON.stringify(header);
  const bytes = Buffer.from(text as string);
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(length ?? BigInt(bytes.length));
  return Buffer.concat([head, bytes, typeof data === "number" ? Buffer.alloc(data) : data]);
}

/** The header's entry of a tensor. */
export function entry(dtype: unknown, shape: unknown, begin: unknown, end: unknown): object {
  return { dtype, shape, data_offsets: [begin, end] };
}
