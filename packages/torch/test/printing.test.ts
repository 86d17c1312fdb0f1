// Tensors as text, against what PyTorch prints (golden/printing.json, made by golden/printing.py).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { afterEach, test } from "node:test";
import { inspect } from "node:util";
import * as torch from "@fabric-ts/torch";

interface Case {
  dtype: torch.Dtype;
  shape: number[];
  values: unknown[];
  options: Record<string, unknown>;
  requiresGrad: boolean;
  text: string;
}

const cases = JSON.parse(readFileSync(new URL("../test/golden/printing.json", import.meta.url), "utf8")) as Case[];

function value(item: unknown): torch.Element {
  if (Array.isArray(item)) return { re: value(item[0]) as number, im: value(item[1]) as number };
  if (typeof item !== "string") return item as number;
  const special = { nan: Number.NaN, inf: Number.POSITIVE_INFINITY, "-inf": Number.NEGATIVE_INFINITY }[item];
  return special ?? BigInt(item);
}

afterEach(() => torch.setPrintOptions({ profile: "default" }));

test("text is PyTorch's", () => {
  for (const { dtype, shape, values, options, requiresGrad, text } of cases) {
    const { sci_mode: sciMode, ...rest } = options;
    torch.setPrintOptions({ profile: "default", ...rest, sciMode: sciMode as boolean | undefined });
    const x = torch.tensor(values.map(value), { dtype }).reshape(shape);
    if (requiresGrad) x.requiresGrad = true;
    assert.equal(String(x), text);
  }
});

test("the gradient function, the device and the size are named", () => {
  const x = torch.tensor([1.5, 2], { requiresGrad: true });
  assert.equal(String(x.exp()), "tensor([4.4817, 7.3891], grad_fn=<ExpBackward0>)");
  assert.equal(String(torch.zeros(2, 3, { device: "meta" })), "tensor(..., device='meta', size=(2, 3))");
  assert.equal(
    String(torch.zeros(2, { device: "meta", dtype: "int64" })),
    "tensor(..., device='meta', size=(2,), dtype=torch.int64)",
  );
});

test("sparse tensors show their parts", () => {
  const x = torch.tensor([
    [1, 0],
    [0, 2.5],
  ]);
  assert.equal(
    String(x.toSparse()),
    `tensor(indices=tensor([[0, 1],
                       [0, 1]]),
       values=tensor([1.0000, 2.5000]),
       size=(2, 2), nnz=2, layout=torch.sparse_coo)`,
  );
  assert.equal(
    String(x.toSparseCsr()),
    `tensor(crow_indices=tensor([0, 1, 2]),
       col_indices=tensor([0, 1]),
       values=tensor([1.0000, 2.5000]), size=(2, 2), nnz=2,
       layout=torch.sparse_csr)`,
  );
});

test("views and tensors that need gradients print without recording anything", () => {
  const x = torch.arange(2000, { dtype: "float32", requiresGrad: true });
  assert.equal(
    String(x),
    "tensor([0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 1.9970e+03, 1.9980e+03,\n        1.9990e+03], requires_grad=True)",
  );
  assert.equal(
    String(
      torch.tensor([
        [1, 2],
        [3, 4],
      ]).T,
    ),
    "tensor([[1, 3],\n        [2, 4]])",
  );
});

test("console.log shows the text, also of a disposed tensor", () => {
  const x = torch.tensor([1, 2]);
  assert.equal(inspect(x), "tensor([1, 2])");
  assert.equal(`${x}`, "tensor([1, 2])");
  x.dispose();
  assert.equal(inspect(x), "tensor(<disposed>)");
});

test("wrong print options are refused", () => {
  assert.throws(() => torch.setPrintOptions({ profile: "loud" as never }), /Expected `profile`/);
  assert.throws(() => torch.setPrintOptions({ precision: -1 }), /Expected `precision`/);
});

test("quantized tensors print their values, scale and zero point", () => {
  const x = torch.tensor([
    [0.5, 1.5],
    [-1, 2],
  ]);
  for (const dtype of ["quint8", "qint32"]) {
    assert.equal(
      String(torch.quantizePerTensor(x, 0.1, 10, dtype as never)),
      `tensor([[ 0.5000,  1.5000],
        [-1.0000,  2.0000]], size=(2, 2), dtype=torch.${dtype},
       quantization_scheme=torch.per_tensor_affine, scale=0.1, zero_point=10)`,
    );
  }
  const scales = torch.tensor([0.1, 0.2], { dtype: "float64" });
  assert.equal(
    String(torch.quantizePerChannel(x, scales, torch.tensor([10, 0]), 0, "quint8" as never)),
    `tensor([[0.5000, 1.5000],
        [0.0000, 2.0000]], size=(2, 2), dtype=torch.quint8,
       quantization_scheme=torch.per_channel_affine,
       scale=tensor([0.1000, 0.2000], dtype=torch.float64),
       zero_point=tensor([10,  0]), axis=0)`,
  );
  assert.equal(
    String(torch.quantizePerTensor(torch.zeros([0]), 0.1, 10, "quint8" as never)),
    `tensor([], size=(0,), dtype=torch.quint8,
       quantization_scheme=torch.per_tensor_affine, scale=0.1, zero_point=10)`,
  );
});
