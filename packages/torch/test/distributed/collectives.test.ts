// Collectives between processes.
import assert from "node:assert/strict";
import test from "node:test";
import { groupValues } from "../support/group.js";

const run = <T>(name: string, ranks: number) =>
  groupValues<T>(import.meta.url, "./ranks/collectives.js", name, { ranks });

test("every dtype is summed, compared, broadcast, gathered and reduce-scattered over two ranks", async () => {
  const results = await run<Record<string, unknown[]>>("dtypes", 2);
  const expected = (rank: number) => [
    [1, 2, 5],
    [1, 1, 3],
    [1, 1, 2],
    [
      [0, 1, 3],
      [1, 1, 2],
    ],
    [1 + 2 * rank, 2],
  ];
  for (const [rank, result] of results.entries()) {
    for (const [dtype, found] of Object.entries(result)) {
      if (dtype === "bool") {
        assert.deepEqual(
          found,
          [
            [1, 1, 1],
            [1, 1, 1],
            [1, 1, 1],
            [
              [0, 1, 1],
              [1, 1, 1],
            ],
            [1, 1],
          ],
          dtype,
        );
      } else if (dtype === "complex64") {
        assert.deepEqual(
          found[0],
          [
            [1, 0],
            [2, 0],
            [5, 0],
          ],
          dtype,
        );
        assert.deepEqual(
          found[4],
          [
            [1 + 2 * rank, 0],
            [2, 0],
          ],
          dtype,
        );
      } else {
        assert.deepEqual(found, expected(rank), dtype);
      }
    }
  }
});

test("every operation combines the values of three ranks, and averages of integers are truncated toward zero", async () => {
  const results = await run<Record<string, unknown>>("operations", 3);
  // Ranks hold [1, 6, 0], [2, 5, -1], [3, 4, -2].
  const expected: Record<string, number[]> = {
    sum: [6, 15, -3],
    product: [6, 120, 0],
    min: [1, 4, -2],
    max: [3, 6, 0],
    band: [0, 4, 0],
    bor: [3, 7, -1],
    bxor: [0, 7, 1],
    avg: [2, 5, -1],
  };
  for (const [rank, result] of results.entries()) {
    for (const [op, list] of Object.entries(expected)) {
      assert.deepEqual(result[op], list, op);
      assert.deepEqual(result[`${op} scattered`], [list[rank]], `${op} scattered`);
    }
    assert.deepEqual(result["mean of floats"], [1.5]);
    assert.deepEqual(result["mean of bfloat16"], [1, 1]);
  }
});

test("data moves from one rank to another in every way over three ranks", async () => {
  const results = await run<Record<string, unknown>>("movements", 3);
  assert.deepEqual(
    results.map((one) => one.reduced),
    [
      [0, 1],
      [30, 33],
      [20, 21],
    ],
  );
  assert.deepEqual(
    results.map((one) => one.gathered),
    [
      null,
      null,
      [
        [0, 1],
        [10, 11],
        [20, 21],
      ],
    ],
  );
  assert.deepEqual(
    results.map((one) => one.scattered),
    [[0.5], [1.5], [2.5]],
  );
  assert.deepEqual(
    results.map((one) => one.exchanged),
    [0, 1, 2].map((rank) => [[rank], [10 + rank], [20 + rank]]),
  );
  const fromBefore = [
    [2, [20, 21]],
    [0, [0, 1]],
    [1, [10, 11]],
  ];
  assert.deepEqual(
    results.map((one) => one.received),
    fromBefore,
  );
  assert.deepEqual(
    results.map((one) => one.any),
    fromBefore,
  );
});

test("tensors that are not contiguous, empty or without dimensions take part", async () => {
  for (const [rank, result] of (await run<Record<string, unknown>>("layouts", 2)).entries()) {
    assert.deepEqual(result.turned, [
      [3, 6],
      [9, 12],
    ]);
    assert.deepEqual(
      result.column,
      rank === 0
        ? [
            [1, 0],
            [1, 0],
          ]
        : [
            [0, 1],
            [0, 1],
          ],
    );
    assert.deepEqual(result.empty, [0, 3]);
    assert.deepEqual(result.scalar, [0, 1]);
  }
});

test("many collectives wait at once without blocking each other or the event loop", async () => {
  for (const [rank, result] of (await run<Record<string, unknown>>("outstanding", 2)).entries()) {
    assert.equal(result.timer, "the event loop runs");
    assert.deepEqual(
      result.sums,
      Array.from({ length: 40 }, (_, i) => 2 * i + 1),
    );
    assert.deepEqual(
      result.inbox,
      Array.from({ length: 12 }, (_, tag) => tag + 100 * (1 - rank)),
    );
  }
});

test("groups of some ranks number their members anew, and a destroyed group is a named error", async () => {
  const results = await run<Record<string, unknown>>("groups", 3);
  assert.deepEqual(
    results.map((one) => one.sums),
    [
      [5, null, 7],
      [null, 6, 7],
      [5, 6, 7],
    ],
  );
  assert.deepEqual(
    results.map((one) => one.facts),
    [
      [
        [0, 2],
        [-1, -1],
        [0, 3],
      ],
      [
        [-1, -1],
        [0, 2],
        [1, 3],
      ],
      [
        [1, 2],
        [1, 2],
        [2, 3],
      ],
    ],
  );
  assert.deepEqual(
    results.map((one) => one.from),
    [null, 2, 2],
  );
  const after = results[0]?.after as { name: string; code: string; message: string };
  assert.equal(after.name, "UsageError");
  assert.equal(after.code, "ERR_GROUP_DESTROYED");
  assert.match(after.message, /^The process group "group 1 \(ranks 0, 2\)" has been destroyed\./);
});

test("objects with tensors inside travel, short ones and long ones", async () => {
  for (const [rank, result] of (await run<Record<string, unknown>>("objects", 2)).entries()) {
    assert.equal(result.text, "tensor:0");
    assert.equal(result.big, "1180591620717411303424");
    assert.deepEqual(result.tensor, ["bfloat16", [[1.5, 2.5]], [true, false]]);
    assert.equal(result.long, 100_000);
    assert.deepEqual(result.all, [
      [0, 0],
      [1, 3000],
    ]);
    const gathered = [
      [0, 0],
      [1, 3000],
    ];
    assert.deepEqual(result.gathered, rank === 1 ? gathered : null);
    assert.deepEqual(result.part, rank === 1 ? [[1.5, 2.5]] : "first");
    const expected = /^Expected `values` to be an array with one value for each of the 2 ranks/;
    if (rank === 1) assert.match((result.tooFew as Error).message, expected);
    assert.match(
      (result.refused as Error).message,
      /^Expected a value that can be sent to other processes, but got the function `[^`]+`/,
    );
  }
});

test("gradients flow back through an all-gather as the sum over all ranks", async () => {
  for (const [rank, result] of (await run<Record<string, unknown>>("gradients", 2)).entries()) {
    assert.deepEqual(result.rows, [
      [1, 2],
      [2, 2],
    ]);
    // 2 * own * (1 + 2)
    assert.deepEqual(result.grad, [6 * (rank + 1), 12]);
    assert.equal(result.gradFn, true);
    assert.equal(result.without, false);
  }
});

test("mistakes are errors that say what was wrong, and leave the group usable", async () => {
  for (const result of await run<Record<string, { name: string; message: string }>>("mistakes", 2)) {
    assert.match(result.op?.message ?? "", /^allReduce of float32 \[2\] got the op "mode"\./);
    assert.match(
      result.bitwise?.message ?? "",
      /^allReduce of float32 \[2\] with op "bor" needs integers or booleans\./,
    );
    assert.match(result.rank?.message ?? "", /^`src` is 9, which is not a rank of the group "default"\./);
    assert.match(result.count?.message ?? "", /needs 2 tensors, one for each rank, but got 1\./);
    assert.match(result.shape?.message ?? "", /float32 \[3\] next to one of float32 \[2\]/);
    assert.match(result.self?.message ?? "", /cannot send to itself/);
    assert.match(result.twice?.message ?? "", /has been initialized already/);
  }
});
