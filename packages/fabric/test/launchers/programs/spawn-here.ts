// spawn-here.js: `ddp_spawn` where the processes exist already, and where there is one only.
import { Fabric } from "@fabric-ts/fabric";

const alone = new Fabric({ accelerator: "cpu", strategy: process.env.RANK === undefined ? "ddp_spawn" : "auto" });
const value = {};
const same = await alone.launch((_fabric, given: object) => given === value, value);
const fabric = new Fabric({ accelerator: "cpu", strategy: "ddp_spawn", devices: process.env.LT_DEVICES ?? 1 });
const rank = await fabric.launch((own) => own.globalRank);
console.log(JSON.stringify([same, rank, fabric.worldSize, process.pid === Number(process.env.FABRIC_LAUNCHER_PID)]));
