// What the ranks of failures.test.ts do.
import * as torch from "@fabric-ts/torch";
import { distributed, nn } from "@fabric-ts/torch";
import { errorFacts, groupStore, type Place, runCase, signal } from "../../support/rank.js";

async function untilItFails(step: () => unknown): Promise<unknown> {
  for (;;) {
    try {
      await step();
    } catch (error) {
      return { ...errorFacts(error), at: Date.now() };
    }
  }
}

await runCase(
  {
    // Rank 1 is killed somewhere inside of these.
    async reduceForEver({ rank }: Place<never>) {
      const data = torch.ones([1 << 20]);
      await distributed.allReduce(data);
      signal(`running ${rank}`);
      const first = await untilItFails(() => distributed.allReduce(data));
      const second = await untilItFails(() => distributed.barrier());
      return { first, second };
    },

    async trainForEver({ rank }: Place<never>) {
      const model = new nn.parallel.DistributedDataParallel(new nn.Linear(512, 512));
      const step = () =>
        model(torch.ones([4, 512]))
          .sum()
          .backward();
      step();
      signal(`running ${rank}`);
      return { first: await untilItFails(step) };
    },

    // Leaves a collective on its way and ends.
    async leaveUnfinished({ rank }: Place<never>) {
      if (rank === 0) {
        distributed.allReduce(torch.ones([4])).catch(() => {});
        process.stdout.write("=true\n");
        process.exit(3);
      }
      await new Promise((resolve) => setTimeout(resolve, 1500));
      return true;
    },

    async listen() {
      await distributed.barrier();
      signal("listening");
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await distributed.barrier();
      return true;
    },

    async monitored({ rank }: Place<never>) {
      if (rank === 1) {
        await new Promise((resolve) => setTimeout(resolve, 1500));
        return null;
      }
      return untilItFails(() => distributed.monitoredBarrier({ timeoutMs: 500, waitAllRanks: true }));
    },
  },
  {
    // Rank 1 of 3 never comes.
    async missing({ rank }: Place<never>) {
      if (rank === 1) return null;
      const options = { rank, worldSize: 3, store: groupStore(3), timeoutMs: 1000 };
      const started = Date.now();
      return {
        ...((await untilItFails(() => distributed.initProcessGroup(options))) as object),
        ms: Date.now() - started,
      };
    },

    async twins() {
      const options = { rank: 0, worldSize: 2, store: groupStore(2), timeoutMs: 1000 };
      return untilItFails(() => distributed.initProcessGroup(options));
    },

    async again({ rank, worldSize }: Place<never>) {
      const store = groupStore(worldSize);
      const sums: number[] = [];
      for (let round = 0; round < 3; round++) {
        await distributed.initProcessGroup({ rank, worldSize, store });
        sums.push((await distributed.allReduce(torch.tensor([round + rank]))).item());
        await distributed.barrier();
        distributed.destroyProcessGroup();
      }
      return sums;
    },

    // Rank 1 sleeps longer than the timeout.
    async late({ rank, worldSize }: Place<never>) {
      // They meet first, which takes as long as it takes on a busy machine.
      await distributed.initProcessGroup({ rank, worldSize, store: groupStore(worldSize) });
      const group = await distributed.newGroup(null, { timeoutMs: 700 });
      if (rank === 1) {
        await new Promise((resolve) => setTimeout(resolve, 2000));
        return null;
      }
      const started = Date.now();
      return {
        ...((await untilItFails(() => distributed.allReduce(torch.ones([2, 3]), { group }))) as object),
        ms: Date.now() - started,
      };
    },
  },
);
