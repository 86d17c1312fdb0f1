// Lazy loading: the value at once, each tensor when it is used, verified like all others, and nothing read twice or for nothing.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as torch from "../../dist/index.js";
import type { ByteSource } from "../../dist/serialization/index.js";
import { storageInfoOf } from "./support/storage.js";
import { TemporaryFolder } from "./support/temporary.js";

const { nn, safetensors } = torch;
const { lazyLoad, materializeTensors } = torch.serialization;

/** A file in memory that counts what is read of it, blocking or only waiting. */
class Counting implements ByteSource {
  readonly name = "counted";
  readonly size: number;
  count = 0;
  closed = 0;
  readonly readSync?: (offset: number, length: number) => Uint8Array;
  constructor(
    readonly bytes: Uint8Array,
    blocking = true,
  ) {
    this.size = bytes.length;
    if (blocking) this.readSync = (offset, length) => this.#take(offset, length);
  }
  async read(offset: number, length: number): Promise<Uint8Array> {
    await new Promise(setImmediate);
    return this.#take(offset, length);
  }
  close(): void {
    this.closed++;
  }
  // The bytes of one read are gone with the next, as with files.
  #scratch = new Uint8Array();
  #take(offset: number, length: number): Uint8Array {
    assert.equal(this.closed, 0, "it is closed");
    this.#scratch.fill(0xff);
    this.#scratch = new Uint8Array(this.bytes.subarray(offset, offset + length));
    this.count += length;
    return this.#scratch;
  }
}

const formats: [string, (value: unknown) => Promise<Uint8Array>][] = [
  ["a checkpoint", async (value) => torch.serialization.serialize(value)],
  [
    "a safetensors file",
    async (value) => {
      using folder = new TemporaryFolder();
      await safetensors.saveState(value, folder.file("x"));
      return readFileSync(folder.file("x"));
    },
  ],
];

interface Saved {
  big: torch.Tensor;
  small: torch.Tensor;
  parameter: torch.nn.Parameter;
  epoch: number;
}
function gradientOf(x: torch.Tensor): unknown {
  x.sum().backward();
  return x.grad?.tolist();
}
const value = (): Saved => ({
  big: torch.arange(50_000).to("float64"),
  small: torch.tensor([[1, 2, 3]], { dtype: "float32", requiresGrad: true }),
  parameter: new nn.Parameter(torch.tensor([1.5, 2.5])),
  epoch: 3,
});

for (const [format, bytesOf] of formats) {
  test(`${format}: placeholders answer without reading`, async () => {
    const source = new Counting(await bytesOf(value()));
    const { big, small, parameter, epoch } = (await lazyLoad(source)) as Saved;
    const opened = source.count;
    assert.ok(opened < 5000, `${opened} bytes were read`);
    assert.equal(epoch, 3);
    assert.deepEqual([big.shape, big.dtype, big.device, big.ndim, big.dim()], [[50_000], "float64", "cpu", 1, 1]);
    assert.deepEqual([big.numel(), big.size(), big.size(-1), big.elementSize()], [50_000, [50_000], 50_000, 8]);
    assert.deepEqual([big.isFloatingPoint(), big.isComplex(), big.isContiguous()], [true, false, true]);
    assert.deepEqual([big.isMeta, big.isCuda, big.isSparse, big.nbytes], [false, false, false, 400_000]);
    assert.deepEqual(
      [small.stride(), small.storageOffset(), small.requiresGrad, small.isLeaf],
      [[3, 1], 0, true, true],
    );
    assert.deepEqual([small.grad, small.gradFn, big.requiresGrad, small.isDisposed], [null, null, false, false]);
    assert.ok(big instanceof torch.Tensor && !(big instanceof nn.Parameter));
    assert.ok(parameter instanceof nn.Parameter && parameter.requiresGrad);
    assert.equal(String(big), "tensor(<not read yet>, size=[50000], dtype=float64, device=cpu)");
    assert.match(inspect(parameter), /^Parameter containing:\ntensor\(<not read yet>, size=\[2\]/);
    assert.equal(source.count, opened);
  });

  test(`${format}: what is used is read, once, and is the same object afterwards`, async () => {
    const source = new Counting(await bytesOf(value()));
    const { big, small, parameter } = (await lazyLoad(source)) as Saved;
    const opened = source.count;
    assert.deepEqual(small.add(1).tolist(), [[2, 3, 4]]);
    assert.ok(source.count - opened < 1000);
    const after = source.count;
    assert.deepEqual(small.tolist(), [[1, 2, 3]]);
    assert.equal(source.count, after);
    assert.ok(small.requiresGrad && Object.getPrototypeOf(small) === torch.Tensor.prototype);
    assert.ok(parameter.mul(2).requiresGrad);
    assert.ok(Object.getPrototypeOf(parameter) === nn.Parameter.prototype && parameter.requiresGrad);
    assert.equal(String(parameter), String(value().parameter));
    assert.equal(source.closed, 0);
    assert.equal(big.sum().item(), (50_000 * 49_999) / 2);
    assert.equal(source.closed, 1, "closed after the last one");
  });

  test(`${format}: every way of using a tensor reads it`, async () => {
    const file = await bytesOf(value());
    const one = torch.ones([1, 3]);
    const uses: [string, (x: torch.Tensor) => unknown, unknown][] = [
      ["to", (x) => x.to("float64").tolist(), [[1, 2, 3]]],
      ["contiguous", (x) => x.contiguous().tolist(), [[1, 2, 3]]],
      ["half", (x) => x.to("float16").tolist(), [[1, 2, 3]]],
      ["clone", (x) => x.clone().tolist(), [[1, 2, 3]]],
      ["data", (x) => x.data.tolist(), [[1, 2, 3]]],
      ["detach", (x) => x.detach().tolist(), [[1, 2, 3]]],
      ["toTypedArray", (x) => [...(x.toTypedArray() as Float32Array)], [1, 2, 3]],
      ["second argument", (x) => one.mul(x).tolist(), [[1, 2, 3]]],
      [
        "in a list",
        (x) => torch.cat([one, x]).tolist(),
        [
          [1, 1, 1],
          [1, 2, 3],
        ],
      ],
      ["torch.equal", (x) => torch.equal(x, x), true],
      ["index", (x) => x.select(1, 2).item(), 3],
      ["backward", gradientOf, [[1, 1, 1]]],
      ["requiresGrad", (x) => Reflect.set(x, "requiresGrad", false) && x.requiresGrad, false],
      ["grad", (x) => Reflect.set(x, "grad", one) && x.grad === one, true],
      ["copy_", (x) => torch.noGrad(() => torch.zeros([1, 3]).copy_(x).tolist()), [[1, 2, 3]]],
      ["new Parameter", (x) => new nn.Parameter(x).tolist(), [[1, 2, 3]]],
      [
        "saving",
        (x) => (torch.serialization.deserialize(torch.serialization.serialize(x)) as torch.Tensor).tolist(),
        [[1, 2, 3]],
      ],
      ["copyOf", (x) => torch.serialization.copyOf(x).tolist(), [[1, 2, 3]]],
    ];
    for (const [name, use, expected] of uses) {
      const { small } = (await lazyLoad(new Counting(file))) as Saved;
      assert.deepEqual(use(small), expected, name);
    }
  });

  test(`${format}: tensors read inside of a scope outlive it, and disposing one that is not read is harmless`, async () => {
    const { big, small, parameter } = (await lazyLoad(new Counting(await bytesOf(value())))) as Saved;
    torch.scope(() => {
      small.add(1);
      parameter.add(1);
    });
    assert.deepEqual([small.tolist(), parameter.tolist()], [[[1, 2, 3]], [1.5, 2.5]]);
    big.dispose();
    big.dispose();
    assert.ok(big.isDisposed);
    assert.equal(String(big), "tensor(<disposed>)");
    assert.throws(() => big.add(1), { name: "UsageError", code: "ERR_DISPOSED" });
    assert.throws(() => big.shape, { name: "UsageError", code: "ERR_DISPOSED" });
  });

  test(`${format}: materializeTensors reads what is left, also where a program cannot wait`, async () => {
    const source = new Counting(await bytesOf({ deep: [{ map: new Map([["x", value()]]) }] }), false);
    const loaded = (await lazyLoad(source)) as { deep: [{ map: Map<string, Saved> | { x: Saved } }] };
    const { map } = loaded.deep[0];
    const { small, big } = map instanceof Map ? (map.get("x") as Saved) : map.x;
    assert.throws(() => small.add(1), { name: "UsageError", message: /await materializeTensors/ });
    const [first, second] = await Promise.all([materializeTensors(loaded), materializeTensors([small, big, 3, null])]);
    assert.equal(first, loaded);
    assert.deepEqual((second[0] as torch.Tensor).tolist(), [[1, 2, 3]]);
    assert.equal(big.sum().item(), (50_000 * 49_999) / 2);
    assert.equal(source.closed, 1);
    assert.equal(await materializeTensors(5), 5);
  });

  test(`${format}: a changed byte is found when its tensor is read, and not before`, async () => {
    const bytes = Buffer.from(await bytesOf(value()));
    // 49,999 as a float64, the last element of the big tensor.
    const at = bytes.indexOf(Buffer.from(new Float64Array([49_999]).buffer));
    bytes[at] = 1;
    const { big, small } = (await lazyLoad(new Counting(bytes))) as Saved;
    assert.deepEqual(small.tolist(), [[1, 2, 3]]);
    for (let i = 0; i < 2; i++) assert.throws(() => big.sum(), { code: "ERR_CHECKPOINT_DAMAGED", message: /checksum/ });
    assert.deepEqual(big.shape, [50_000]);
    await assert.rejects(materializeTensors({ big }), { code: "ERR_CHECKPOINT_DAMAGED" });
  });
}

test("tensors that share memory are read together and share it", async () => {
  const base = torch.arange(6).to("float32");
  const source = new Counting(
    torch.serialization.serialize({ base, row: base.narrow(0, 2, 3), other: torch.zeros([9]) }),
  );
  const { base: b, row } = (await lazyLoad(source)) as Record<string, torch.Tensor>;
  assert.deepEqual([row?.storageOffset(), row?.isContiguous(), b?.shape], [2, true, [6]]);
  row?.add_(10);
  assert.deepEqual(b?.tolist(), [0, 1, 12, 13, 14, 5]);
  assert.equal(storageInfoOf(b).key, storageInfoOf(row).key);
});

test("strides are known before", async () => {
  const x = torch.arange(6).reshape([2, 3]).t();
  const [y] = (await lazyLoad(new Counting(torch.serialization.serialize([x])))) as [torch.Tensor];
  assert.deepEqual([y.shape, y.stride(), y.isContiguous()], [[3, 2], [1, 3], false]);
  assert.deepEqual(y.tolist(), x.tolist());
});

test("a model is loaded from placeholders, parameter by parameter", async () => {
  const from = new nn.Linear(2, 3);
  const source = new Counting(torch.serialization.serialize(from.stateDict()));
  const state = (await lazyLoad(source)) as torch.nn.StateDict;
  const to = new nn.Linear(2, 3);
  assert.throws(() => new nn.Linear(2, 4).loadStateDict(state), /size mismatch/);
  assert.equal(source.closed, 0);
  to.loadStateDict(state);
  assert.deepEqual(to.weight.tolist(), from.weight.tolist());
  assert.equal(source.closed, 1);
});

test("mapLocation says where tensors go when they are read", async () => {
  const bytes = torch.serialization.serialize([torch.ones([2])]);
  const [x] = (await lazyLoad(new Counting(bytes), { mapLocation: "meta" })) as [torch.Tensor];
  assert.equal(x.device, "cpu");
  assert.equal(x.add(1).device, "meta");
  await assert.rejects(lazyLoad(new Counting(bytes), { mapLocation: "cupboard" as never }), /mapLocation/);
});

const descriptors = (path: string): number =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path);
    } catch {
      return false;
    }
  }).length;

test("a file may be replaced while its tensors are unread, and is closed after errors and when it is forgotten", {
  skip: existsSync("/proc/self/fd") ? false : "needs /proc",
}, async () => {
  using folder = new TemporaryFolder();
  const path = folder.file("state.pt");
  await torch.save({ x: torch.tensor([1]), y: torch.tensor([2]) }, path);
  let loaded: Record<string, torch.Tensor> | null = (await lazyLoad(path)) as Record<string, torch.Tensor>;
  await torch.save({ x: torch.tensor([7]) }, folder.file("new.pt"));
  renameSync(folder.file("new.pt"), path);
  assert.deepEqual(loaded.x?.tolist(), [1]);
  assert.equal(descriptors(folder.path), 1);
  writeFileSync(folder.file("broken"), "no checkpoint");
  await assert.rejects(lazyLoad(folder.file("broken")), { code: "ERR_CHECKPOINT_FORMAT" });
  await assert.rejects(lazyLoad(folder.file("none")), { code: "ENOENT" });
  assert.equal(descriptors(folder.path), 1);
  loaded = null;
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  for (let i = 0; i < 100 && descriptors(folder.path) > 0; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(descriptors(folder.path), 0);
});

test("a value without tensors leaves nothing open", async () => {
  const source = new Counting(torch.serialization.serialize({ a: 1 }));
  assert.deepEqual({ ...((await lazyLoad(source)) as object) }, { a: 1 });
  assert.equal(source.closed, 1);
});
