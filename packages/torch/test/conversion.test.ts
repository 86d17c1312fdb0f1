// Conversions to other dtypes and devices, and to JavaScript values.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

test("to() gives the same object when nothing changes", () => {
  const x = torch.tensor([1.5]);
  assert.equal(x.to("float32"), x);
  assert.equal(x.to("cpu"), x);
  assert.equal(x.to("cpu", "float32"), x);
  assert.equal(x.to({ dtype: "float32", device: null }), x);
  assert.equal(x.to(torch.zeros(1)), x);
  assert.equal(x.float(), x);
  assert.equal(x.cpu(), x);
  assert.equal(x.typeAs(torch.zeros(1)), x);
  assert.notEqual(x.to("float32", { copy: true }), x);
});

test("to() takes a dtype, a device, both, a tensor or an object", () => {
  const x = torch.tensor([1.5]);
  assert.equal(x.to("float64").dtype, "float64");
  assert.equal(x.to("meta").device, "meta");
  assert.equal(x.to("cpu", "int64").dtype, "int64");
  assert.equal(x.to(torch.tensor([true])).dtype, "bool");
  assert.equal(x.to({ device: "meta", dtype: "int32" }).dtype, "int32");
  assert.deepEqual(torch.zeros(1, 2, 2, 2).to({ memoryFormat: "channels_last" }).stride(), [8, 1, 4, 2]);
});

test("each dtype has its method", () => {
  const x = torch.tensor([1, 0]);
  const dtypes = ["float", "double", "half", "bfloat16", "long", "int", "short", "char", "byte", "bool"] as const;
  assert.deepEqual(
    dtypes.map((name) => x[name]().dtype),
    ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"],
  );
  assert.equal(x.type("int8").dtype, "int8");
});

test("conversions are differentiable", () => {
  const x = torch.tensor([1.5], { requiresGrad: true });
  x.double().sum().backward();
  assert.deepEqual(x.grad?.tolist(), [1]);
});

test("wrong arguments of to() are refused", () => {
  const x = torch.tensor([1.5]);
  assert.throws(() => x.to(3 as never), /takes a dtype, a device or a tensor, but got 3/);
  assert.throws(() => x.to("cpu", "float31" as never), /Expected `dtype`/);
  assert.throws(() => x.to({ dype: "float32" } as never), /no option named `dype`/);
  assert.throws(() => x.to("float31" as never), /Expected `dtype or device`/);
});

test("names that are no dtype or device are refused with those that are", () => {
  const x = torch.tensor([1.5]);
  const module = new torch.nn.Linear(1, 1);
  const refused = (call: () => unknown, text: RegExp): void => {
    assert.throws(call, (error: Error) => error instanceof TypeError && text.test(error.message));
  };
  for (const target of [x, module] as { to(name: never): unknown }[]) {
    refused(
      () => target.to("float" as never),
      /got "float"\.\nDid you mean "float32"\? Dtypes: "float32", .*Devices: "cpu"/,
    );
    refused(() => target.to("cudaa" as never), /got "cudaa"\.\nDid you mean "cuda"\?/);
    refused(() => target.to("nonsense" as never), /got "nonsense"\.\nDtypes: /);
    refused(() => target.to({ device: "gpu" } as never), /Expected `device`.*\nDid you mean "cuda"\? Devices: "cpu"/);
    refused(() => target.to({ dtype: "half" } as never), /Expected `dtype`.*\nDid you mean "float16"\?/);
  }
  refused(() => x.type("int" as never), /Did you mean "int32"\?/);
  refused(() => x.cuda("cuda:x" as never), /Did you mean "cuda"\?/);
  refused(() => torch.tensor([1], { device: "cudaa" as never }), /Did you mean "cuda"\?/);
});

test("a CUDA device that does not exist is an error that says what to do", () => {
  const x = torch.tensor([1.5]);
  const none = { name: "NotSupportedError", message: /FABRIC_LIBTORCH|CUDA_VISIBLE_DEVICES/ };
  assert.throws(() => x.to("cuda:99"), none);
  assert.throws(() => x.cuda(99), none);
  assert.throws(() => new torch.nn.Linear(1, 1).to("cuda:99"), none);
  if (!torch.cuda.isAvailable()) assert.throws(() => x.cuda(), none);
});

test("tolist() gives nested arrays, and a value for no dimensions", () => {
  assert.equal(torch.tensor(2.5).tolist(), 2.5);
  assert.deepEqual(
    torch
      .tensor([
        [1, 2],
        [3, 4],
      ])
      .T.tolist(),
    [
      [1, 3],
      [2, 4],
    ],
  );
  assert.deepEqual(torch.tensor([true, false]).tolist(), [true, false]);
  assert.deepEqual(torch.tensor([1n, 2n ** 60n]).tolist(), [1, 2n ** 60n]);
  assert.deepEqual(torch.zeros(2, 0).tolist(), [[], []]);
  assert.deepEqual(torch.tensor([{ re: 1, im: -2 }]).tolist(), [{ re: 1, im: -2 }]);
  assert.deepEqual(torch.tensor([1.5], { dtype: "bfloat16" }).tolist(), [1.5]);
});

test("toTypedArray() gives the array that fits the dtype", () => {
  const kinds = {
    float32: Float32Array,
    float64: Float64Array,
    float16: Float32Array,
    bfloat16: Float32Array,
    int64: BigInt64Array,
    int32: Int32Array,
    int16: Int16Array,
    int8: Int8Array,
    uint8: Uint8Array,
    bool: Uint8Array,
  } as const;
  for (const [dtype, kind] of Object.entries(kinds)) {
    const array = torch.ones(2, { dtype: dtype as torch.Dtype }).toTypedArray();
    assert.ok(array instanceof kind, dtype);
    assert.deepEqual([...array].map(Number), [1, 1], dtype);
  }
});

test("iterating gives the rows", () => {
  const rows = [
    ...torch.tensor([
      [1, 2],
      [3, 4],
    ]),
  ];
  assert.deepEqual(
    rows.map((row) => row.tolist()),
    [
      [1, 2],
      [3, 4],
    ],
  );
  assert.throws(() => [...torch.tensor(1)], /cannot be iterated over/);
});

test("operators, layers and defaults refuse names as `to` does", () => {
  const refused = (call: () => unknown, text: RegExp): void => {
    assert.throws(call, (error: Error) => error instanceof TypeError && text.test(error.message));
  };
  refused(() => torch.ones([1], { dtype: "float" as never }), /`dtype`.*"float"\.\nDid you mean "float32"\?/);
  refused(() => torch.ones([1], { dtype: 3 as never }), /`dtype` to be a dtype, but got 3/);
  refused(() => torch.ones([1]).sum({ dtype: "flaot64" as never }), /Did you mean "float64"\?/);
  refused(() => torch.tensor([1], { dtype: "long" as never }), /Did you mean "int64"\?/);
  refused(() => new torch.nn.Linear(1, 1, { device: "gpu" as never }), /Did you mean "cuda"\?/);
  refused(() => new torch.nn.Linear(1, 1).toEmpty({ device: "gpu" as never }), /Did you mean "cuda"\?/);
  refused(() => torch.setDefaultDevice("cdua" as never), /`device`.*\nDid you mean "cuda"\?/);
  refused(() => torch.setDefaultDevice(3 as never), /but got 3/);
  refused(() => torch.setDefaultDtype("half" as never), /Did you mean "float16"\?/);
  assert.equal(torch.getDefaultDevice(), "cpu");
});

test("a device that this LibTorch lacks is refused where it is named", { skip: torch.cuda.isAvailable() }, () => {
  const before = torch.getDefaultDevice();
  const calls: (() => unknown)[] = [
    () => torch.setDefaultDevice("cuda"),
    () => torch.withDevice("cuda", () => torch.ones([1])),
    () => torch.ones([1], { device: "cuda:1" }),
    () => torch.tensor([1], { device: "cuda" }),
    () => new torch.nn.Linear(1, 1, { device: "cuda" }),
  ];
  for (const call of calls) assert.throws(call, { name: "NotSupportedError", message: /^There is no device "cuda/ });
  assert.equal(torch.getDefaultDevice(), before);
  if (process.platform === "darwin") return;
  const there = { name: "NotSupportedError", message: /^There is no device "mps".*\nUse "cpu"/ };
  assert.throws(() => torch.ones([1]).to("mps"), there);
  assert.throws(() => torch.ones([1], { device: "mps" }), there);
});

test("values of a tensor on the meta device are refused with what to do", () => {
  const x = torch.ones([1], { device: "meta" });
  const refused = { name: "UsageError", message: /on the device "meta".*no values\.\n.*toEmpty/ };
  assert.throws(() => x.item(), refused);
  assert.throws(() => x.tolist(), refused);
  assert.throws(() => x.to("cpu"), refused);
  assert.throws(() => new torch.nn.Linear(1, 1, { device: "meta" }).to("cpu"), refused);
});

test("a quantized tensor says how to read it", () => {
  const x = torch.quantizePerTensor(torch.tensor([0.5, 1]), 0.1, 10, "quint8" as never);
  assert.throws(() => x.tolist(), { name: "UsageError", message: /quantized \(quint8\).*\n.*dequantize/ });
  assert.deepEqual(x.intRepr().tolist(), [15, 20]);
});
