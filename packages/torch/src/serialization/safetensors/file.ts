// An open safetensors file: the header is read and checked at once, tensors when they are asked for.
import type { Dtype } from "../../dtype.js";
import type { Tensor } from "../../tensor.js";
import type { SharedSource } from "../shared-source.js";
import type { Contents } from "./contents.js";

/**
 * An open safetensors file, from `safeOpen`. Tensors are read when they are asked for; those of files with checksums are verified.
 *
 *     using file = await safetensors.safeOpen("model.safetensors");
 *     const weight = await file.getTensor("layer.weight");
 */
export class SafetensorsFile {
  readonly #source: SharedSource;
  readonly #contents: Contents;

  /** internal: `safeOpen` opens a file. */
  constructor(source: SharedSource, contents: Contents) {
    this.#source = source;
    this.#contents = contents;
  }

  /** The names of the tensors, in the order of the header. */
  keys(): string[] {
    return this.#contents.keys;
  }
  /** The text that was saved beside the tensors; an object without a prototype. */
  metadata(): Readonly<Record<string, string>> {
    return this.#contents.header.metadata;
  }
  /** Dtype and shape of a tensor, which is not read. */
  describe(name: string): { dtype: Dtype; shape: number[] } {
    const { dtype, shape } = this.#contents.entry(name);
    return { dtype, shape: [...shape] };
  }
  /** Reads one tensor. */
  async getTensor(name: string): Promise<Tensor> {
    return await this.#source.readWaiting(this.#contents.read(name));
  }
  /** The same while the thread waits. */
  getTensorSync(name: string): Tensor {
    return this.#source.readBlocking(this.#contents.read(name));
  }
  /** Closes the file; what was read stays. */
  close(): void {
    this.#source.close();
  }
  [Symbol.dispose](): void {
    this.close();
  }
}
