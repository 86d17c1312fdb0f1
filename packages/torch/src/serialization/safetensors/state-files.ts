// Files of any value that `torch.save` takes, in the safetensors format: written, read, and read tensor by tensor.
import type { Device } from "../../dtype.js";
import { Parameter } from "../../nn/parameter.js";
import { handleOf, type Tensor } from "../../tensor.js";
import type { ByteSource } from "../byte-source.js";
import { contiguousStrides, fulfil, type LazyReader, lazyTensor, readerOf } from "../lazy-tensor.js";
import type { Reading } from "../reading.js";
import { SharedSource } from "../shared-source.js";
import { Contents } from "./contents.js";
import { write } from "./files.js";
import { flatten, unflatten, type Wanted } from "./state.js";
import { safetensorsPieces } from "./writer.js";

/** internal: the bytes of the file that `saveState` writes, in pieces that are valid until the next one. */
export function statePieces(value: unknown): Iterable<Uint8Array> {
  const { tensors, metadata } = flatten(value);
  return safetensorsPieces(tensors, metadata, { checksums: true });
}

/**
 * Saves any value that `torch.save` takes: its tensors by their place in it (`"optimizer.state.0.exp_avg"`), all else as JSON in the
 * metadata, with checksums. Other programs see the tensors, `torch.load` gives the value back. Tensors that share memory do not share it
 * then, but one tensor in several places stays one.
 *
 *     await safetensors.saveState({ model: model.stateDict(), epoch: 3 }, "last.safetensors");
 */
export async function saveState(value: unknown, path: string | URL): Promise<void> {
  await write(statePieces(value), path).commit();
}

/** internal: the value that `saveState` has saved; of other safetensors files all tensors by name. */
export function* readState(source: ByteSource, device: Device): Reading<unknown> {
  const contents = yield* Contents.open(source, device);
  const tensors = yield* contents.readAll();
  return unflatten(contents, (name, wanted) => asWanted(tensors.get(name) as Tensor, wanted));
}

function asWanted(tensor: Tensor, { isParameter, requiresGrad }: Wanted): Tensor {
  if (isParameter) return new Parameter(tensor, requiresGrad);
  if (requiresGrad) tensor.requiresGrad = true;
  return tensor;
}

/** internal: the same value, whose tensors are read when they are used. */
export function* readStateLazily(source: ByteSource, device: Device): Reading<unknown> {
  const contents = yield* Contents.open(source, device);
  const file = new LazyFile(new SharedSource(source), contents);
  return unflatten(contents, (name, wanted) => file.placeholder(name, wanted));
}

class LazyFile {
  readonly #source: SharedSource;
  readonly #contents: Contents;
  #waiting = 0;

  constructor(source: SharedSource, contents: Contents) {
    this.#source = source;
    this.#contents = contents;
  }

  placeholder(name: string, wanted: Wanted): Tensor {
    const { dtype, shape } = this.#contents.entry(name);
    const read = (): Reading<void> => this.#read(name, wanted, tensor);
    const reader: LazyReader = {
      readBlocking: () => this.#source.readBlocking(read()),
      readWaiting: () => this.#source.readWaiting(read()),
    };
    const layout = { shape, strides: contiguousStrides(shape), offset: 0 };
    const tensor = lazyTensor({ dtype, device: "cpu", ...layout, ...wanted, reader });
    this.#waiting++;
    return tensor;
  }

  *#read(name: string, wanted: Wanted, tensor: Tensor): Reading<void> {
    if (readerOf(tensor) === undefined) return;
    const read = yield* this.#contents.read(name);
    fulfil(tensor, handleOf(asWanted(read, wanted)));
    this.#waiting--;
    if (this.#waiting === 0) this.#source.close();
  }
}
