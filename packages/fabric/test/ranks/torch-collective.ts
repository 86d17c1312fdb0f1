// Two processes without Fabric, started with RANK, WORLD_SIZE and the port in TEST_PORT: collectives on their own.
import { TorchCollective } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { distributed, type Tensor } from "@fabric-ts/torch";
import { messageOf, report } from "../support/run-ranks.js";

const rank = Number(process.env.RANK);
const address = { mainAddress: "127.0.0.1", mainPort: Number(process.env.TEST_PORT) };
const own = (...values: number[]): Tensor => torch.tensor(values, { dtype: "float32" });
const list = (tensors: Tensor[]): unknown[] => tensors.map((tensor) => tensor.tolist());

async function setup(): Promise<unknown> {
  const environment = { ...process.env };
  const collective = await new TorchCollective().setup(address);
  const again = await new TorchCollective().setup({ mainAddress: "nowhere", mainPort: 1 });
  return {
    environment: JSON.stringify(process.env) === JSON.stringify(environment),
    place: [collective.rank, collective.worldSize, again.rank, collective.isInitialized()],
    manages: TorchCollective.managesDefaultGroup,
  };
}

/** Every call, in the group of all processes. */
async function calls(): Promise<unknown> {
  const collective = new TorchCollective();
  const places = [own(0), own(0)];
  const gathered = await collective.allGather(places, own(rank));
  const sum = own(rank + 1);
  const onOne = await collective.gather(own(rank + 5), rank === 1 ? [] : null, 1);
  const exchanged = [own(0), own(0)];
  const received = own(0);
  if (rank === 0) await collective.send(own(7), 1, 3);
  else await collective.recv(received, 0, 3);
  const values: unknown[] = [null, null];
  const nothing = [await collective.barrier(), await collective.monitoredBarrier({ timeoutMs: 20_000 })];
  const outputs: unknown[] = [null];
  const [sent, share, part] = [own(rank), own(0), own(0)];
  return {
    nothing: nothing.every((one) => one === undefined),
    returned: [
      (await collective.broadcast(sent, 1)) === sent,
      (await collective.scatter(share, rank === 1 ? [own(1), own(2)] : null, 1)) === share,
      (await collective.reduceScatter(part, [own(1), own(2)])) === part,
      (await collective.allGatherObject(values, { rank })) === values,
      (await collective.scatterObjectList(outputs, rank === 0 ? ["x", "y"] : null)) === outputs,
    ],
    filled: [sent, share, part].map((tensor) => tensor.item()),
    broadcast: (await collective.broadcast(own(rank), 1)).tolist(),
    sum: [(await collective.allReduce(sum)) === sum, sum.tolist()],
    max: (await collective.allReduce(own(rank), "MAX")).tolist(),
    reduced:
      rank === 1
        ? (await collective.reduce(own(2), 1, "product")).tolist()
        : await done(collective.reduce(own(3), 1, "product")),
    inPlace: gathered === places && gathered[0] === places[0],
    gathered: list(gathered),
    onOne: list(onOne),
    scattered: (await collective.scatter(own(0), rank === 0 ? [own(1), own(2)] : null, 0)).tolist(),
    parts: (await collective.reduceScatter(own(0), [own(rank), own(10 * rank)], "sum")).tolist(),
    exchanged: [(await collective.allToAll(exchanged, [own(rank), own(rank + 10)])) === exchanged, list(exchanged)],
    received: received.tolist(),
    objects: values,
    sent: await collective.broadcastObjectList(rank === 0 ? ["a", { b: 1 }] : [null, null], 0),
    collected: await collective.gatherObject(`from ${rank}`, null, 0),
    distributed: await collective.scatterObjectList([null], rank === 1 ? ["x", "y"] : null, 1),
    wrong: await messageOf(() => collective.allReduce(own(1), "median")),
  };
}

async function done(promise: Promise<unknown>): Promise<null> {
  await promise;
  return null;
}

/** Groups of one's own, and what teardown leaves. */
async function groups(): Promise<unknown> {
  const both = await new TorchCollective().createGroup({ ranks: [0, 1] });
  const first = await new TorchCollective().createGroup({ ranks: [0] });
  const twice = await messageOf(() => both.createGroup());
  const place = [both.rank, both.worldSize, first.rank, first.worldSize];
  await first.barrier();
  const outside = rank === 1 ? await messageOf(() => first.allReduce(own(1))) : null;
  const [text] = await both.broadcastObjectList([rank === 0 ? "hello" : ""], 0);
  const chained = (await first.teardown()) === first;
  await distributed.barrier();
  const between = distributed.isInitialized();
  await both.teardown();
  return {
    twice,
    place,
    outside,
    text,
    chained,
    between,
    after: [distributed.isInitialized(), TorchCollective.managesDefaultGroup],
    nothing: await messageOf(() => both.teardown()),
    without: await messageOf(() => both.allReduce(own(1))),
  };
}

/** Once more at the same address, which the environment knows better; then a group of all processes that is somebody else's. */
async function again(): Promise<unknown> {
  const variables = { MASTER_ADDR: address.mainAddress, MASTER_PORT: String(address.mainPort) };
  Object.assign(process.env, variables);
  const collective = await new TorchCollective().setup({ mainAddress: "256.0.0.1", mainPort: 1 });
  const kept = [process.env.MASTER_ADDR, process.env.MASTER_PORT].join() === Object.values(variables).join();
  for (const name of Object.keys(variables)) delete process.env[name];
  const sum = (await collective.allReduce(own(1))).tolist();
  distributed.destroyProcessGroup();
  const forgotten = TorchCollective.managesDefaultGroup;
  await collective.setup(address);
  await collective.teardown();
  return { sum, kept, forgotten, initialized: distributed.isInitialized() };
}

report(rank, { setup: await setup(), calls: await calls(), groups: await groups(), again: await again() });
