// The program of a rank whose function is imported from a module: started by `fabric.launch({ module, export }, ...)`.
import { Fabric, type FabricOptions } from "../fabric.js";
import { importFunction } from "../launchers/function-reference.js";
import { workerProgram } from "../launchers/worker.js";

const { options, ...reference } = workerProgram();
const fn = await importFunction(reference);
await new Fabric(options as FabricOptions).launch((fabric, ...args: unknown[]) => fn(fabric, ...args));
