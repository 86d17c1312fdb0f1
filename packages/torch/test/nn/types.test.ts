// What the compiler has to accept and to refuse. Nothing here runs: a mistake is a build error.
import { test } from "node:test";
import type * as torch from "@fabric-ts/torch";
import { nn, type Tensor } from "@fabric-ts/torch";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_T extends true>(): void {}

class Two extends nn.Module<[Tensor, number], string> {
  forward(x: Tensor, n: number) {
    return `${x}${n}`;
  }
  twice(x: Tensor): string {
    return this(x, 2);
  }
}

class Plain extends nn.Module {
  layer = new nn.Linear(1, 1);
  forward(x: Tensor) {
    return this.layer(x);
  }
}

export function accepted(x: Tensor, two: Two): void {
  check<Equal<ReturnType<Two>, string>>();
  check<Equal<Parameters<Two>, [Tensor, number]>>();
  const text: string = two(x, 1);
  const plain: Tensor = new Plain()(x);
  const sequential = new nn.Sequential(new Plain(), new nn.ReLU());
  const y: Tensor = sequential(x);
  const chain = new nn.Sequential(new Two(), new nn.Identity());
  const result: Tensor = chain(x, 1);
  const longest = new nn.Sequential(new Two(), new nn.Identity(), new nn.ReLU(), new Two());
  const end: string = longest(x, 1);
  const spread: nn.Sequential = new nn.Sequential(...[new nn.Linear(1, 1), new nn.Linear(1, 1)]);
  const list = new nn.ModuleList([new nn.Linear(1, 1)]);
  for (const layer of list) check<Equal<typeof layer, nn.Linear>>();
  const any: nn.AnyModule[] = [two, sequential, list, new nn.CrossEntropyLoss()];
  const parameters: torch.Tensor[] = two.parameters();
  const self: Two = two.to("cpu").eval().train().double();
  const longer: nn.Module<[Tensor], Tensor> = new nn.ConvTranspose1d(1, 1, 1);
  void [text, plain, y, result, end, spread, any, parameters, self, longer];
}

export function refused(x: Tensor, two: Two): void {
  // @ts-expect-error the second argument is missing
  two(x);
  // @ts-expect-error the result is no Tensor
  const y: Tensor = two(x, 1);
  // @ts-expect-error options go by name
  new nn.Linear(1, 1, false);
  // @ts-expect-error there is no such option
  new nn.Conv2d(1, 1, 3, { strides: 2 });
  // @ts-expect-error abstract
  new nn.Module();
  // @ts-expect-error not a dtype or device
  two.to("flaot32");
  // @ts-expect-error no such reduction
  nn.functional.mseLoss(x, x, { reduction: "average" });
  // @ts-expect-error forward is missing
  class Missing extends nn.Module<[Tensor], Tensor> {}
  class Wrong extends nn.Module<[Tensor], Tensor> {
    // @ts-expect-error forward does not fit the type arguments
    forward(x: Tensor): number {
      return x.ndim;
    }
  }
  void [y, Missing, Wrong];
}

test("module types are checked by the compiler", () => {});
