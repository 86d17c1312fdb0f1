// A strategy that wraps a model on one device, so that guards and redirection are at work, and a precision that notes what it does.
import { Fabric, Precision, SingleDeviceStrategy } from "@fabric-ts/fabric";
import { nn } from "@fabric-ts/torch";

/** Calls the model inside, as the wrappers of real strategies do. */
export class Outer extends nn.Module<unknown[], unknown> {
  constructor(readonly inner: nn.AnyModule) {
    super();
  }
  forward(...args: unknown[]): unknown {
    return this.inner(...args);
  }
}

/** Puts an `Outer` around models. */
export class Wrapping extends SingleDeviceStrategy {
  override setupModule(module: nn.AnyModule): nn.AnyModule {
    return new Outer(module);
  }
}

/** Notes when its context is open. */
export class Noting extends Precision {
  readonly events: string[] = [];
  override convertInput<T>(data: T): T {
    this.events.push("input");
    return data;
  }
  override forwardContext(): Disposable {
    this.events.push("enter");
    return { [Symbol.dispose]: () => this.events.push("leave") };
  }
  override convertOutput<T>(data: T): T {
    this.events.push("output");
    return data;
  }
}

/** A Fabric with that strategy. */
export function wrapping(plugins: Precision[] = []): Fabric {
  return new Fabric({ accelerator: "cpu", strategy: new Wrapping(), plugins });
}
