// What the generated signatures accept and give; checked by the compiler, never run.
import { test } from "node:test";
import type { Dtype, Tensor } from "@fabric-ts/torch";
import * as torch from "@fabric-ts/torch";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function is<T extends true>(): T | undefined {
  return undefined;
}

function signatures(x: Tensor, parameter: torch.nn.Parameter): void {
  is<Equal<ReturnType<typeof x.abs>, Tensor>>();
  x.sum(1, true);
  x.sum(1, { keepdim: true, dtype: "float64" });
  x.sum({ dim: [0, 1] });
  torch.sum(x, [0], { keepdim: true });
  x.view(2, 3);
  x.view([2, 3]);
  x.reshape(-1).permute(1, 0);
  x.expand(2, -1, { implicit: false });
  torch.zeros(2, 3);
  torch.zeros(2, 3, { dtype: "int64" });
  torch.zeros([2, 3], { dtype: "int64", device: "cuda:1", requiresGrad: true });
  torch.var(x, { unbiased: false });
  torch.where(x, x, 0);
  torch.arange(0, 10, 2, { dtype: "float32" });
  torch.conv2d(x, x, null, 2, [1, 1]);
  torch.randn([2], { generator: new torch.Generator() });
  x.maximum(2);
  x.index([null, x]);
  x.contiguous({ memoryFormat: "channels_last" });

  const kept: torch.nn.Parameter = parameter.add_(1);
  const [values, indices] = x.max(1);
  const parts: Tensor[] = x.split(2);
  const same: boolean = torch.allclose(x, x);
  const triple: [Tensor, Tensor, Tensor] = torch.svd(x);
  const dtype: Dtype = torch.resultType(x, 1);
  const plain: number = x.item();

  // @ts-expect-error a string is not a dimension
  x.sum("1");
  // @ts-expect-error an option that sum does not have
  x.sum(1, { keepDim: true });
  // @ts-expect-error not a dtype
  torch.zeros([2], { dtype: "float31" });
  // @ts-expect-error cat takes a list
  torch.cat(x, x);
  // @ts-expect-error there is no such operator
  torch.logsoftmax(x, 1);
  // @ts-expect-error a pair of tensors is not a tensor
  const wrong: Tensor = x.max(1);
  // @ts-expect-error private operators are only within `ops`
  x._foreachAdd();
  // @ts-expect-error a required argument is missing
  x.transpose(0);
  // @ts-expect-error dtype of the wrong kind in a conversion
  x.to("float31");
  // @ts-expect-error an unknown memory format
  x.contiguous({ memoryFormat: "rows" });

  void [kept, values, indices, parts, same, triple, dtype, plain, wrong];
}

test("the signatures above compile, and the wrong calls do not", () => void signatures);
