// Sequences of unequal length for recurrent networks, packed without their padding. Python: `torch.nn.utils.rnn`.
import { typeError } from "../check.js";
import { tensor } from "../creation.js";
import type { Device, Dtype } from "../dtype.js";
import { ConfigurationError } from "../errors.js";
import { Tensor } from "../tensor.js";
import { checkBoolean, checkOptions, checkSize } from "./arguments.js";
import { aten, atenAny } from "./aten.js";

const pack = atenAny("_pack_padded_sequence");
const unpack = atenAny("_pad_packed_sequence");
const padTogether = aten("pad_sequence");
const sort = atenAny("sort");

/** A batch of sequences without padding: all first elements, then all second ones of those that are long enough, and so on. */
export class PackedSequence {
  /** `[elements of all sequences, ...]`. */
  readonly data: Tensor;
  /** How many sequences have a first, a second, ... element: int64, on the CPU. */
  readonly batchSizes: Tensor;
  /** Where the sequences, sorted by length, were in the batch; null when they were sorted already. */
  readonly sortedIndices: Tensor | null;
  /** The way back. */
  readonly unsortedIndices: Tensor | null;

  constructor(
    data: Tensor,
    batchSizes: Tensor,
    sortedIndices: Tensor | null = null,
    unsortedIndices: Tensor | null = null,
  ) {
    for (const [name, value] of Object.entries({ data, batchSizes }))
      if (!(value instanceof Tensor))
        throw typeError(name, "a Tensor", value, "Type `packPaddedSequence(x, lengths)`.");
    this.data = data;
    this.batchSizes = batchSizes;
    this.sortedIndices = sortedIndices;
    this.unsortedIndices = unsortedIndices ?? (sortedIndices === null ? null : invertPermutation(sortedIndices));
  }

  /** The same sequences with other data. */
  withData(data: Tensor): PackedSequence {
    return new PackedSequence(data, this.batchSizes, this.sortedIndices, this.unsortedIndices);
  }

  /** Another device or dtype for the data. */
  to(target: Device | Dtype): PackedSequence {
    const data = this.data.to(target as Device);
    if (data === this.data) return this;
    const { device } = data;
    const move = (indices: Tensor | null): Tensor | null => indices?.to(device) ?? null;
    return new PackedSequence(data, this.batchSizes, move(this.sortedIndices), move(this.unsortedIndices));
  }
}

/** Options of the functions of this file. */
export interface PackOptions {
  /** Shapes `[N, L, ...]` instead of `[L, N, ...]` (default false). */
  batchFirst?: boolean | undefined;
  /** The sequences come longest first (default true); with false they are sorted, and put back later. */
  enforceSorted?: boolean | undefined;
}

function lengthsOf(lengths: Tensor | readonly number[]): Tensor {
  const list = lengths instanceof Tensor ? lengths.tolist() : lengths;
  if (!Array.isArray(list)) throw typeError("lengths", "a list of lengths or a Tensor", lengths);
  const numbers = list.map((length) => checkSize("lengths", Number(length), 1, "packPaddedSequence(x, [5, 3, 2])"));
  return tensor(numbers, { dtype: "int64" });
}

/** The order that undoes a permutation. */
export function invertPermutation(permutation: Tensor): Tensor {
  return permutation.argsort();
}

/** Packs a padded batch `[L, N, ...]` whose sequences have the given lengths. */
export function packPaddedSequence(
  input: Tensor,
  lengths: Tensor | readonly number[],
  options: PackOptions = {},
): PackedSequence {
  checkOptions(options, ["batchFirst", "enforceSorted"], "packPaddedSequence(x, [5, 3], { batchFirst: true })");
  if (!(input instanceof Tensor)) throw typeError("input", "a Tensor", input);
  const { batchFirst = false, enforceSorted = true } = options;
  const given = lengthsOf(lengths);
  const numbers = given.tolist() as number[];
  const batch = batchFirst ? 0 : 1;
  const longest = Math.max(...numbers);
  if (input.ndim < 2 || numbers.length !== input.size(batch) || longest > input.size(1 - batch)) {
    throw new ConfigurationError(
      `packPaddedSequence got an input of shape [${input.shape.join(", ")}] and ${numbers.length} lengths of at most ${longest}.`,
      { hint: `It takes ${batchFirst ? "[N, L, ...]" : "[L, N, ...]"} with N lengths up to L; see \`batchFirst\`.` },
    );
  }
  let [sequence, sorted, order] = [input, given, null as Tensor | null];
  if (enforceSorted) {
    if (numbers.some((length, i) => i > 0 && length > (numbers[i - 1] as number))) {
      throw new ConfigurationError(`The lengths [${numbers.join(", ")}] do not fall.`, {
        hint: "Sort the sequences by length, longest first, or type `{ enforceSorted: false }`.",
      });
    }
  } else {
    const [falling, indices] = sort(given, 0, true) as [Tensor, Tensor];
    sorted = falling;
    order = indices.to(input.device);
    sequence = input.indexSelect(batch, order);
  }
  const [data, batchSizes] = pack(sequence, sorted, batchFirst) as [Tensor, Tensor];
  return new PackedSequence(data, batchSizes, order);
}

/** Options of `padPackedSequence`. */
export interface PadPackedOptions {
  /** Shape `[N, L, ...]` instead of `[L, N, ...]` (default false). */
  batchFirst?: boolean | undefined;
  /** What short sequences are filled with (default 0). */
  paddingValue?: number | undefined;
  /** L, where it is to be greater than the longest sequence. */
  totalLength?: number | null | undefined;
}

/** The padded batch, and the lengths as an int64 tensor, in the order that they had before they were packed. */
export function padPackedSequence(sequence: PackedSequence, options: PadPackedOptions = {}): [Tensor, Tensor] {
  checkOptions(
    options,
    ["batchFirst", "paddingValue", "totalLength"],
    "padPackedSequence(packed, { batchFirst: true })",
  );
  if (!(sequence instanceof PackedSequence)) throw typeError("sequence", "a PackedSequence", sequence);
  const { batchFirst = false, paddingValue = 0 } = options;
  const longest = sequence.batchSizes.size(0);
  const length = options.totalLength ?? longest;
  if (length < longest) {
    throw new ConfigurationError(`\`totalLength\` is ${length}, but the longest sequence has ${longest} elements.`);
  }
  const [padded, lengths] = unpack(
    sequence.data,
    sequence.batchSizes,
    batchFirst,
    paddingValue,
    length,
  ) as Tensor[] as [Tensor, Tensor];
  const back = sequence.unsortedIndices;
  if (back === null) return [padded, lengths];
  return [padded.indexSelect(batchFirst ? 0 : 1, back), lengths.indexSelect(0, back.to("cpu"))];
}

/** Options of `padSequence`. */
export interface PadSequenceOptions {
  /** Shape `[N, L, ...]` instead of `[L, N, ...]` (default false). */
  batchFirst?: boolean | undefined;
  /** What short sequences are filled with (default 0). */
  paddingValue?: number | undefined;
}

/** Joins sequences `[L_i, ...]` into one padded batch. */
export function padSequence(sequences: Iterable<Tensor>, options: PadSequenceOptions = {}): Tensor {
  checkOptions(options, ["batchFirst", "paddingValue"], "padSequence([a, b], { batchFirst: true })");
  const batchFirst = checkBoolean("batchFirst", options.batchFirst ?? false);
  return padTogether(listOf(sequences), batchFirst, options.paddingValue ?? 0);
}

/** The sequences of a padded batch, each with its length. */
export function unpadSequence(
  padded: Tensor,
  lengths: Tensor | readonly number[],
  options: { batchFirst?: boolean | undefined } = {},
): Tensor[] {
  const rows = options.batchFirst ? padded : padded.transpose(0, 1);
  return (lengthsOf(lengths).tolist() as number[]).map((length, i) => rows.select(0, i).narrow(0, 0, length));
}

/** Packs sequences `[L_i, ...]`, longest first unless `enforceSorted` is false. */
export function packSequence(
  sequences: Iterable<Tensor>,
  options: { enforceSorted?: boolean | undefined } = {},
): PackedSequence {
  const list = listOf(sequences);
  return packPaddedSequence(
    padSequence(list),
    list.map((sequence) => sequence.size(0)),
    options,
  );
}

/** The reverse of `packSequence`. */
export function unpackSequence(packed: PackedSequence): Tensor[] {
  const [padded, lengths] = padPackedSequence(packed, { batchFirst: true });
  return unpadSequence(padded, lengths, { batchFirst: true });
}

function listOf(sequences: Iterable<Tensor>): Tensor[] {
  if (sequences instanceof Tensor || typeof (sequences as Iterable<Tensor> | null)?.[Symbol.iterator] !== "function") {
    throw typeError("sequences", "a list of Tensors", sequences);
  }
  const list = [...sequences];
  for (const item of list) if (!(item instanceof Tensor)) throw typeError("sequences", "a list of Tensors", item);
  return list;
}
