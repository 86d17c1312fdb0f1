// Gathers tensors whose shapes differ from rank to rank.
import { ConfigurationError, type Dtype, distributed, nn, type Tensor } from "@fabric-ts/torch";

/** What a rank tells of its tensor. */
interface Facts {
  shape: number[];
  dtype: Dtype;
}

/**
 * The tensors of all ranks, by rank; they may have any shapes. Alone, the tensor itself. All ranks call it. With `syncGrads` gradients flow
 * back to the rank that a tensor came from.
 */
export async function gatherAllTensors(
  tensor: Tensor,
  options: { group?: distributed.ProcessGroup | undefined; syncGrads?: boolean | undefined } = {},
): Promise<Tensor[]> {
  if (!distributed.isInitialized()) return [tensor];
  const { group, syncGrads = false } = options;
  const call = { group, label: "gatherAllTensors" };
  const own = syncGrads ? tensor : tensor.detach();
  const facts = await distributed.allGatherObject<Facts>({ shape: own.shape, dtype: own.dtype }, call);
  checkDtypes(facts);
  const sizes = facts.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
  const flat = own.contiguous().reshape([-1]);
  const padded = nn.functional.pad(flat, [0, Math.max(...sizes) - flat.numel()]);
  const rows = syncGrads
    ? await distributed.allGatherWithGrad(padded, call)
    : await distributed.allGatherStacked(padded, call);
  return facts.map(({ shape }, rank) =>
    rows
      .select(0, rank)
      .narrow(0, 0, sizes[rank] as number)
      .reshape(shape),
  );
}

function checkDtypes(facts: readonly Facts[]): void {
  const [first] = facts;
  const rank = facts.findIndex(({ dtype }) => dtype !== first?.dtype);
  if (rank < 0) return;
  throw new ConfigurationError(
    `Tensors of different dtypes cannot be gathered: ${first?.dtype} on rank 0 and ${facts[rank]?.dtype} on rank ${rank}.`,
    { hint: 'Convert them first, such as `tensor.to("float32")`.' },
  );
}
