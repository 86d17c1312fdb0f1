// What the tests of this folder share: what users do wrong, and what they are told: one or two sentences that name the fault,
// then the next move. Nothing of it breaks the process: a step of training works after each.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Fabric } from "@fabric-ts/fabric";
import * as torch from "@fabric-ts/torch";
import { data, nn, optim, type Tensor } from "@fabric-ts/torch";

/** A title, the call, the error's class, what its message says, and what the user is told to do. */
export type Case = [title: string, call: () => unknown, name: string, fault: RegExp, nextMove: RegExp];

/** Set up on one device, not launched: none is needed. */
export const fabric = new Fabric({ accelerator: "cpu" });
const ready = new nn.Linear(3, 2);
/** A model and its optimizer that Fabric set up. */
export const [model, optimizer] = fabric.setup(ready, new optim.SGD(ready.parameters(), { lr: 0.1 }));
/** The same as they were made. */
export const raw = new nn.Linear(3, 2);
export const rawOptimizer = new optim.SGD(raw.parameters(), { lr: 0.1 });
/** An input of the models. */
export const x = torch.ones([4, 3]);
/** A new loader. */
export const loader = (): data.DataLoader<Tensor[], Tensor[]> =>
  new data.DataLoader(new data.TensorDataset(x), { batchSize: 2 }) as never;

/** The compiler refuses most of this; plain JavaScript does not. */
// biome-ignore lint/suspicious/noExplicitAny: calls with wrong types are what is tested
export const any = (value: unknown): any => value;

function trainStep(): void {
  optimizer.zeroGrad();
  const loss = nn.functional.mseLoss(model(x), torch.ones([4, 2]));
  fabric.backward(loss);
  optimizer.step();
  assert.ok(Number.isFinite(loss.item()));
}

/** A test for each case. */
export function refuses(title: string, cases: readonly Case[]): void {
  describe(title, () => {
    for (const [name, call, className, fault, nextMove] of cases) {
      it(name, async () => {
        const error = await failure(call);
        assert.equal(error.name, className, error.message);
        assert.match(error.message, fault);
        assert.match(error.message, nextMove);
        assert.doesNotMatch(error.message, /frame #|\[native code\]|\bat .*:\d+:\d+/);
        trainStep();
      });
    }
  });
}

async function failure(call: () => unknown): Promise<Error> {
  let result: unknown;
  try {
    result = await call();
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  return assert.fail(`nothing was thrown; the result is ${String(result)}`);
}

/** The engine's own errors end with the call as it was made and the operator's arguments. */
export const theCall = /\n {2}in \w+\(.*\n {2}of aten::\w+/;
