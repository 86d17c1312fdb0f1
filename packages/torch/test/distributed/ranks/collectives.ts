// What the ranks of collectives.test.ts do.

import type { Tensor } from "@fabric-ts/torch";
import * as torch from "@fabric-ts/torch";
import { distributed } from "@fabric-ts/torch";
import { failure, type Place, runCase } from "../../support/rank.js";

const dtypes = [
  "float32",
  "float64",
  "float16",
  "bfloat16",
  "int64",
  "int32",
  "int16",
  "int8",
  "uint8",
  "bool",
  "complex64",
] as const;

function values(tensor: Tensor): unknown {
  const real = tensor.isComplex() ? torch.viewAsReal(tensor) : tensor;
  return real.to("float64").tolist();
}

function make(numbers: number[], dtype: torch.Dtype): Tensor {
  return torch.tensor(numbers, { dtype: "float32" }).to(dtype);
}

await runCase({
  async dtypes({ rank, worldSize }: Place<never>) {
    const result: Record<string, unknown> = {};
    for (const dtype of dtypes) {
      const own = make([rank, 1, 3 - rank], dtype);
      const reduced = dtype === "complex64" ? "sum" : "max";
      const sum = await distributed.allReduce(own.clone());
      const most = await distributed.allReduce(own.clone(), { op: reduced });
      const sent = await distributed.broadcast(own.clone(), { src: 1 });
      const rows = await distributed.allGatherStacked(own);
      const parts = Array.from({ length: worldSize }, (_, to) => make([rank + to, 1], dtype));
      const part = await distributed.reduceScatter(make([0, 0], dtype), parts);
      result[dtype] = [sum, most, sent, rows, part].map(values);
    }
    return result;
  },

  async operations({ rank }: Place<never>) {
    const own = () => torch.tensor([rank + 1, 6 - rank, -rank], { dtype: "int64" });
    const result: Record<string, unknown> = {};
    for (const op of ["sum", "product", "min", "max", "band", "bor", "bxor", "avg"] as const) {
      result[op] = (await distributed.allReduce(own(), { op })).tolist();
      result[`${op} scattered`] = (
        await distributed.reduceScatter(
          torch.zeros([1], { dtype: "int64" }),
          own()
            .unbind(0)
            .map((x) => x.reshape([1])),
          { op },
        )
      ).tolist();
    }
    result["mean of floats"] = (await distributed.allReduce(torch.tensor([rank + 0.5]), { op: "mean" })).tolist();
    result["mean of bfloat16"] = (await distributed.allReduce(make([rank, 1], "bfloat16"), { op: "avg" })).tolist();
    return result;
  },

  async movements({ rank, worldSize }: Place<never>) {
    const own = torch.tensor([rank * 10, rank * 10 + 1]);
    const reduced = await distributed.reduce(own.clone(), { dst: 1 });
    const gathered = await distributed.gather(own, { dst: 2 });
    const list = rank === 1 ? [0, 1, 2].map((to) => torch.tensor([to + 0.5])) : null;
    const scattered = await distributed.scatter(torch.zeros([1]), list, { src: 1 });
    const exchanged = await distributed.allToAll([0, 1, 2].map((to) => torch.tensor([rank * 10 + to])));
    const next = (rank + 1) % worldSize;
    const before = (rank + worldSize - 1) % worldSize;
    const received = torch.zeros([2], { dtype: "int64" });
    const [source] = await Promise.all([
      distributed.recv(received, before, { tag: 7 }),
      distributed.send(own, next, { tag: 7 }),
    ]);
    const any = torch.zeros([2], { dtype: "int64" });
    const [anySource] = await Promise.all([distributed.recv(any), distributed.send(own, next)]);
    await distributed.barrier();
    return {
      reduced: reduced.tolist(),
      gathered: gathered?.map((row) => row.tolist()) ?? null,
      scattered: scattered.tolist(),
      exchanged: exchanged.map((row) => row.tolist()),
      received: [source, received.tolist()],
      any: [anySource, any.tolist()],
    };
  },

  async layouts({ rank }: Place<never>) {
    const square = torch
      .tensor(
        [
          [1, 2],
          [3, 4],
        ],
        { dtype: "float32" },
      )
      .mul(rank + 1);
    const turned = square.t();
    await distributed.allReduce(turned);
    const column = torch.zeros([2, 2]);
    await distributed.broadcast(column.select(1, rank).add_(rank + 1), { src: 0 });
    const empty = await distributed.allReduce(torch.zeros([0, 3]));
    const scalar = await distributed.allGather(torch.tensor(rank));
    return {
      turned: square.tolist(),
      column: column.tolist(),
      empty: empty.shape,
      scalar: scalar.map((x) => x.item()),
    };
  },

  async outstanding({ rank, worldSize }: Place<never>) {
    const other = 1 - rank;
    const inbox = Array.from({ length: 12 }, () => torch.zeros([1]));
    const receives = inbox.map((tensor, tag) => distributed.recv(tensor, other, { tag }));
    const sums = Array.from({ length: 40 }, (_, i) => distributed.allReduce(torch.tensor([i + rank])));
    const timer = await new Promise((resolve) => setTimeout(() => resolve("the event loop runs"), 20));
    const sent = inbox.map((_, tag) =>
      distributed.send(torch.tensor([tag + 100 * rank], { dtype: "float32" }), other, { tag }),
    );
    await Promise.all([...receives, ...sent]);
    return {
      timer,
      worldSize,
      sums: (await Promise.all(sums)).map((x) => x.item()),
      inbox: inbox.map((x) => x.item()),
    };
  },

  async groups({ rank }: Place<never>) {
    const outer = await distributed.newGroup([2, 0]);
    const pair = await distributed.newGroup([1, 2]);
    const all = await distributed.newGroup();
    const sums: unknown[] = [];
    for (const group of [outer, pair, all]) {
      sums.push(group && (await distributed.allReduce(torch.tensor([2 ** rank]), { group })).item());
    }
    await distributed.barrier({ group: outer });
    const facts = [outer, pair, all].map((one) => [distributed.getRank(one), distributed.getWorldSize(one)]);
    const from = pair ? (await distributed.broadcast(torch.tensor([rank]), { src: 2, group: pair })).item() : null;
    if (outer) distributed.destroyProcessGroup(outer);
    const after = outer ? await failure(() => distributed.allReduce(torch.ones([1]), { group: outer })) : null;
    return { sums, facts, from, after, world: distributed.getWorldSize() };
  },

  async objects({ rank }: Place<never>) {
    const shared = torch.tensor([[1.5, 2.5]], { dtype: "bfloat16" });
    const value =
      rank === 1
        ? {
            text: "tensor:0",
            map: new Map([[1, [shared, { deep: torch.tensor([true, false]) }]]]),
            big: 2n ** 70n,
            list: [null, -0],
          }
        : undefined;
    const received = await distributed.broadcastObject(value, { src: 1 });
    const inside = received?.map.get(1) as [Tensor, { deep: Tensor }];
    const long = await distributed.broadcastObject(rank === 0 ? "x".repeat(100_000) : "", { src: 0 });
    const all = await distributed.allGatherObject({ rank, data: "y".repeat(rank * 3000) });
    const gathered = await distributed.gatherObject({ rank, data: "z".repeat(rank * 3000) }, { dst: 1 });
    const parts = ["first", { x: shared, text: "w".repeat(3000) }];
    const part = (await distributed.scatterObject(rank === 1 ? parts : null, { src: 1 })) as string | { x: Tensor };
    const tooFew = rank === 1 ? await failure(() => distributed.scatterObject([1], { src: 1 })) : null;
    const refused = await failure(() => distributed.broadcastObject(() => 1, { src: rank }));
    return {
      gathered: gathered?.map((one) => [one.rank, one.data.length]) ?? null,
      part: typeof part === "string" ? part : part.x.tolist(),
      tooFew,
      text: received?.text,
      big: String(received?.big),
      tensor: [inside[0].dtype, inside[0].tolist(), inside[1].deep.tolist()],
      long: long.length,
      all: all.map((one) => [one.rank, one.data.length]),
      refused,
    };
  },

  async gradients({ rank }: Place<never>) {
    const own = torch.tensor([rank + 1, 2], { dtype: "float32" });
    own.requiresGrad = true;
    const rows = await distributed.allGatherWithGrad(own);
    // d/drows = 2 * rows * (rank + 1); every rank adds its own.
    rows
      .pow(2)
      .sum()
      .mul(rank + 1)
      .backward();
    const plain = torch.noGrad();
    const without = await distributed.allGatherWithGrad(own);
    plain[Symbol.dispose]();
    return {
      rows: rows.tolist(),
      grad: own.grad?.tolist(),
      gradFn: rows.gradFn !== null,
      without: without.requiresGrad,
    };
  },

  async mistakes({ rank }: Place<never>) {
    const ones = torch.ones([2]);
    return {
      op: await failure(() => distributed.allReduce(ones, { op: "mode" as never })),
      bitwise: await failure(() => distributed.allReduce(ones, { op: "bor" })),
      rank: await failure(() => distributed.broadcast(ones, { src: 9 })),
      count: await failure(() => distributed.reduceScatter(ones, [ones])),
      shape: await failure(() => distributed.allToAll([ones, torch.ones([3])])),
      self: await failure(() => distributed.send(ones, rank)),
      twice: await failure(() =>
        distributed.initProcessGroup({ rank: 0, worldSize: 1, store: new distributed.HashStore() }),
      ),
    };
  },
});
