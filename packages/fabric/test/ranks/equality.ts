// Two processes, each with its half of the batch; the test compares the weights with those of one process and the whole batch.
import { Fabric } from "@fabric-ts/fabric";
import { report } from "../support/run-ranks.js";
import { train, type Way, ways } from "../support/training.js";

const fabric = new Fabric({ accelerator: "cpu", devices: 2 });
await fabric.launch();
const weights: Partial<Record<Way, number[]>> = {};
for (const way of ways) weights[way] = train(fabric, way);
report(fabric.globalRank, weights);
