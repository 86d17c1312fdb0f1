// What the ranks of deadline-barrier.test.ts do.
import * as torch from "@fabric-ts/torch";
import { distributed } from "@fabric-ts/torch";
import { failure, type Place, runCase } from "../../support/rank.js";

const token = (): torch.Tensor => torch.zeros([1]);

await runCase({
  // Rank 2 comes to the barrier only when the others have given up.
  async missing({ rank }: Place<never>) {
    await distributed.barrier({ name: "ready", timeoutMs: 20_000 });
    if (rank === 2) await distributed.recv(token(), 0);
    const missing = await failure(() => distributed.barrier({ name: "ready", timeoutMs: rank === 0 ? 300 : 20_000 }));
    if (rank === 0) await distributed.send(token(), 2);
    const again = await failure(() => distributed.barrier({ name: "ready", timeoutMs: 20_000 }));
    const sum = (await distributed.allReduce(torch.ones([]))).item();
    return { missing, again, sum };
  },

  // Ranks 0 and 2 have a group of their own, in which rank 0 stays away.
  async group({ rank }: Place<never>) {
    const group = await distributed.newGroup([0, 2]);
    if (rank === 2) return await failure(() => distributed.barrier({ group, timeoutMs: 100 }));
    // Does not wait for anybody: this process is no member.
    if (rank === 1) await distributed.barrier({ group, timeoutMs: 100 });
    return null;
  },

  async names({ rank }: Place<never>) {
    const wrong = await failure(() => distributed.barrier({ timeoutMs: -1 }));
    const other = await failure(() => distributed.barrier({ name: `of rank ${rank}`, timeoutMs: 200 }));
    await distributed.barrier();
    return { wrong, other };
  },
});
