// Backward passes on another thread, as CUDA has them, for tests on machines without a GPU.
import { test } from "node:test";
import v8 from "node:v8";
import vm from "node:vm";
import { native } from "../../dist/native.js";

/** JavaScript functions that the engine holds now: hooks, custom functions, hooks on saved tensors. */
export const liveCallbacks = (): number => native().liveCallbacks();

/** Collects all garbage, also what hangs on what the engine frees. */
export function collectAll(): void {
  v8.setFlagsFromString("--expose-gc");
  const gc = vm.runInNewContext("gc") as () => void;
  for (let i = 0; i < 3; i++) {
    gc();
    native().liveCallbacks();
  }
}

/** Runs `body` with backward passes on another thread than JavaScript's. */
export function onAnotherThread<T>(body: () => T): T {
  native().setPassesElsewhere(true);
  try {
    return body();
  } finally {
    native().setPassesElsewhere(false);
  }
}

/** A test that is run twice: with backward passes on this thread and on another. */
export function onBothThreads(title: string, body: () => void): void {
  test(title, body);
  test(`${title} (backward on another thread)`, () => onAnotherThread(body));
}
