// Writing protocol buffers: the few kinds of fields that TensorBoard's messages have.

/** internal: one message being written. Fields come in the order of the calls. */
export class ProtoWriter {
  #buffer = Buffer.allocUnsafe(128);
  #length = 0;

  /** The message so far; valid until the next call. */
  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  int64(field: number, value: number | bigint): this {
    this.#varint(field * 8);
    return this.#varint(value);
  }
  bool(field: number, value: boolean): this {
    return this.int64(field, value ? 1 : 0);
  }
  double(field: number, value: number): this {
    this.#varint(field * 8 + 1);
    this.#reserve(8);
    this.#length = this.#buffer.writeDoubleLE(value, this.#length);
    return this;
  }
  float(field: number, value: number): this {
    this.#varint(field * 8 + 5);
    this.#reserve(4);
    this.#length = this.#buffer.writeFloatLE(value, this.#length);
    return this;
  }
  doubles(field: number, values: ArrayLike<number>): this {
    this.#varint(field * 8 + 2).#varint(values.length * 8);
    this.#reserve(values.length * 8);
    for (let i = 0; i < values.length; i++) {
      this.#length = this.#buffer.writeDoubleLE(values[i] as number, this.#length);
    }
    return this;
  }
  bytes(field: number, value: Uint8Array): this {
    this.#varint(field * 8 + 2).#varint(value.length);
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
    return this;
  }
  string(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, "utf8"));
  }
  message(field: number, fill: (inner: ProtoWriter) => unknown): this {
    const inner = new ProtoWriter();
    fill(inner);
    return this.bytes(field, inner.finish());
  }

  #varint(value: number | bigint): this {
    this.#reserve(10);
    if (typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER) {
      let rest = value;
      for (; rest > 127; rest = Math.floor(rest / 128)) this.#buffer[this.#length++] = (rest % 128) + 128;
      this.#buffer[this.#length++] = rest;
    } else {
      // Negative numbers are written as if they were unsigned, in ten bytes.
      let rest = BigInt.asUintN(64, BigInt(value));
      for (; rest > 127n; rest >>= 7n) this.#buffer[this.#length++] = Number(rest & 127n) + 128;
      this.#buffer[this.#length++] = Number(rest);
    }
    return this;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + count));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
