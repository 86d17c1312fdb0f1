// referring.js: launches functions of another module by name. The ranks do not run this program.
import { Fabric } from "@fabric-ts/fabric";
import { nn, tensor } from "@fabric-ts/torch";

const messageOf = async (launched: Promise<unknown>): Promise<string> =>
  launched.then(
    () => "no error",
    (error: Error) => error.message,
  );
const module = new URL("./launched.js", import.meta.url);
const report = (name: string, value: unknown): void => console.log(`REPORT ${name} ${JSON.stringify(value)}`);
const options = { accelerator: "cpu", devices: 2, strategy: "ddp_spawn" } as const;
const fabric = new Fabric(options);

report("result", await fabric.launch({ module, export: "addUp" }, tensor([1, 2]), ["more"]));
report("failed", await messageOf(fabric.launch({ module })));
report("refused", [
  await messageOf(fabric.launch({ module, export: "five" })),
  await messageOf(fabric.launch({ module: "./nowhere.js" })),
  await messageOf(fabric.launch({ module: 3 } as never)),
  await messageOf(fabric.launch({ module, exports: "addUp" } as never)),
  await messageOf(fabric.launch({ module, export: 3 } as never)),
  await messageOf(fabric.launch({ module: process.argv[1] as string })),
  await messageOf(fabric.launch({ module, export: "addUp" }, new nn.Linear(1, 1))),
  await messageOf(new Fabric({ ...options, callbacks: [{}] }).launch({ module, export: "addUp" })),
  await messageOf(new (class Own extends Fabric {})(options).launch({ module, export: "addUp" })),
]);
// Where nothing has to be started, the function is imported and called.
report("alone", await new Fabric({ accelerator: "cpu" }).launch({ module, export: "addUp" }, tensor([1]), 0));
