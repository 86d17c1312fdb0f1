// What the ranks of different-calls.test.ts do: they do not agree on what to do.
import * as torch from "@fabric-ts/torch";
import { distributed, nn } from "@fabric-ts/torch";
import { failure, groupStore, type Place, runCase } from "../../support/rank.js";

async function join({ rank, worldSize }: Place<never>): Promise<void> {
  await distributed.initProcessGroup({
    rank,
    worldSize,
    store: groupStore(worldSize),
    timeoutMs: 50_000,
    lateAfterMs: 300,
  });
}

await runCase(
  {},
  {
    async kinds(place: Place<never>) {
      await join(place);
      await distributed.barrier();
      const { rank } = place;
      return await failure(() => (rank === 0 ? distributed.allReduce(torch.ones([2])) : distributed.barrier()));
    },

    async labelled(place: Place<never>) {
      await join(place);
      const { rank } = place;
      return await failure(() =>
        rank === 0 ? distributed.allGatherObject(1, { label: "fabric.save" }) : distributed.allReduce(torch.ones([])),
      );
    },

    // Rank 1 trains, rank 0 waits in a call that rank 1 never makes.
    async backward(place: Place<never>) {
      await join(place);
      const model = new nn.parallel.DistributedDataParallel(new nn.Linear(2, 2));
      if (place.rank === 0) return await failure(() => distributed.allGatherObject(1, { label: "fabric.save" }));
      return await failure(() =>
        model(torch.ones([1, 2]))
          .sum()
          .backward(),
      );
    },

    // Gloo copies what it gets into a larger tensor without a word.
    async shapes(place: Place<never>) {
      await join(place);
      const { rank } = place;
      let last: unknown = null;
      for (let i = 0; i < 400 && last === null; i++) {
        last = await failure(() => distributed.broadcast(torch.ones([i === 3 ? 2 + 2 * rank : 4]), { src: 0 }));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return last;
    },

    async waiting(place: Place<never>) {
      await join(place);
      if (place.rank === 1) await new Promise((resolve) => setTimeout(resolve, 1500));
      await distributed.barrier();
      return null;
    },

    async size(place: Place<never>) {
      await join(place);
      return await failure(() => distributed.allReduce(torch.ones([4], { dtype: place.rank ? "float32" : "float64" })));
    },

    async option(place: Place<never>) {
      process.env.FABRIC_LATE_AFTER_MS = "soon";
      const { rank, worldSize } = place;
      const store = groupStore(worldSize);
      return await failure(() => distributed.initProcessGroup({ rank, worldSize, store }));
    },
  },
);
