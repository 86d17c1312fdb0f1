// Explicit ends of tensors: dispose, using, scope. The live counter is exact about them.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@fabric-ts/torch";

const live = (): number => torch.memory.stats().liveTensors;

/** How many tensors `body` leaves alive. Keep what it makes in reach, so that no collection interferes. */
function added(body: () => void): number {
  const before = live();
  body();
  return live() - before;
}

test("each new tensor counts, and dispose takes it off at once", () => {
  const made: torch.Tensor[] = [];
  assert.equal(
    added(() => made.push(torch.zeros([3]), torch.ones([2]))),
    2,
  );
  assert.equal(
    added(() => made[0]?.dispose()),
    -1,
  );
  assert.equal(made[0]?.isDisposed, true);
  assert.equal(made[1]?.isDisposed, false);
});

test("disposing twice is harmless", () => {
  const x = torch.zeros([3]);
  x.dispose();
  assert.equal(
    added(() => x.dispose()),
    0,
  );
  x[Symbol.dispose]();
});

test("the bytes of a storage are charged once and given back exactly", () => {
  const { chargedBytes: before } = torch.memory.stats();
  const charged = (): number => torch.memory.stats().chargedBytes - before;
  const x = torch.zeros([250_000]);
  // Beside the storage, each handle stands for a little memory of its own.
  const handle = charged() - 1_000_000;
  assert.ok(handle >= 0 && handle < 1024, `${handle} bytes for a handle`);
  const view = x.view([500, 500]);
  assert.equal(charged(), 1_000_000 + 2 * handle);
  x.dispose();
  assert.equal(charged(), 1_000_000 + handle);
  view.dispose();
  assert.equal(charged(), 0);
});

test("using frees at the end of the block, also when it throws", () => {
  const kept: torch.Tensor[] = [];
  assert.equal(
    added(() => {
      using x = torch.zeros([3]);
      using y = x.add(1);
      kept.push(x, y);
    }),
    0,
  );
  assert.throws(() => {
    using x = torch.zeros([3]);
    kept.push(x);
    throw new RangeError("inside");
  }, RangeError);
  assert.deepEqual(
    kept.map((x) => x.isDisposed),
    [true, true, true],
  );
});

test("scope frees all but what it returns, also within arrays, maps and objects", () => {
  const kept: unknown[] = [];
  assert.equal(
    added(() => {
      kept.push(
        torch.scope(() => {
          const x = torch.ones([3]);
          x.mul(2).add(1);
          return { x, list: [x.add(1)], map: new Map([["y", x.sub(1)]]), n: 3 };
        }),
      );
    }),
    3,
  );
  const [{ x, list, map }] = kept as [{ x: torch.Tensor; list: torch.Tensor[]; map: Map<string, torch.Tensor> }];
  assert.deepEqual(
    [x.tolist(), list[0]?.tolist(), map.get("y")?.tolist()],
    [
      [1, 1, 1],
      [2, 2, 2],
      [0, 0, 0],
    ],
  );
});

test("what an inner scope returns belongs to the outer one", () => {
  let inner: torch.Tensor | undefined;
  assert.equal(
    added(() => {
      torch.scope(() => {
        inner = torch.scope(() => torch.ones([2]).add(1));
        assert.equal(inner.isDisposed, false);
      });
    }),
    0,
  );
  assert.equal(inner?.isDisposed, true);
});

test("scope frees when its function throws, and tensors from outside stay", () => {
  const x = torch.ones([2]);
  assert.equal(
    added(() => {
      assert.throws(() => {
        torch.scope(() => {
          x.add(1);
          throw new RangeError("inside");
        });
      }, RangeError);
    }),
    0,
  );
  assert.deepEqual(x.tolist(), [1, 1]);
});

test("what is made unscoped outlives every scope, also when its function throws", () => {
  const made: torch.Tensor[] = [];
  torch.scope(() => {
    torch.scope(() => {
      made.push(
        torch.memory.unscoped(() => torch.ones([2])),
        torch.zeros([2]),
      );
      assert.throws(
        () =>
          torch.memory.unscoped(() => {
            throw new RangeError("inside");
          }),
        RangeError,
      );
      made.push(torch.zeros([2]));
    });
  });
  assert.deepEqual(
    made.map(({ isDisposed }) => isDisposed),
    [false, true, true],
  );
  assert.throws(() => torch.memory.unscoped(3 as never), /Expected `make` to be a function, but got 3/);
});

test("scope refuses promises and what is no function", () => {
  assert.throws(
    () => torch.scope(async () => torch.ones([1])),
    /takes a synchronous function.*\nAwait outside of the scope/s,
  );
  assert.throws(() => torch.scope(3 as never), /Expected `body` to be a function, but got 3/);
});

test("a disposed tensor is refused by name, and the rest goes on", () => {
  const x = torch.ones([2]);
  const y = torch.ones([2]);
  x.dispose();
  const uses: [string, () => unknown][] = [
    ["an operator's first argument", () => x.add(1)],
    ["its second", () => y.add(x)],
    ["within a list", () => torch.cat([y, x])],
    ["by name", () => y.add(1, { out: x } as never)],
    ["shape", () => x.shape],
    ["dtype", () => x.dtype],
    ["tolist", () => x.tolist()],
    ["item", () => x.item()],
    ["backward", () => x.backward()],
    ["grad", () => x.grad],
  ];
  for (const [title, use] of uses) {
    assert.throws(use, { name: "UsageError", code: "ERR_DISPOSED", message: /disposed/ }, title);
  }
  assert.deepEqual(y.add(1).tolist(), [2, 2]);
  assert.equal(String(x), "tensor(<disposed>)");
});

test("views keep the storage that they share", () => {
  const x = torch.arange(6);
  const row = x.view([2, 3]).select(0, 1);
  x.dispose();
  assert.deepEqual(row.tolist(), [3, 4, 5]);
});

test("disposing intermediate results leaves the backward pass whole", () => {
  const x = torch.tensor([2, 3], { dtype: "float32", requiresGrad: true });
  const square = x.mul(x);
  const loss = square.sum();
  square.dispose();
  loss.backward();
  loss.dispose();
  assert.deepEqual(x.grad?.tolist(), [4, 6]);
});

test("settings of the allocator check their values", () => {
  assert.throws(() => torch.memory.setCollectEvery(-1), /whole number of bytes, at least 0, but got -1/);
  assert.throws(() => torch.memory.keepFreedBlocks(1 as never), /to be a boolean, but got 1/);
});
