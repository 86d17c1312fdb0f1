// How long a program takes to its first training step, beside what Python takes to import torch and do nothing with it.
import { execFileSync } from "node:child_process";

/** Milliseconds, one value for each round. */
export interface StartUp {
  /** `python3 -c 'import torch'`, from the command to its end. */
  importTorch: number[];
  /** From the command to the end of the first step. */
  oneDevice: number[];
  twoDevices: number[];
  /** From the command to the start of the first rank's process, on two devices. */
  launcher: number[];
}

/** Starts each in turn. `runSteps(devices)` resolves with when the first rank's process started and its first step ended, as `Date.now()` has it. */
export async function measureStartUp(
  rounds: number,
  python: string,
  runSteps: (devices: number) => Promise<{ startedAt: number; firstStepAt: number }>,
): Promise<StartUp> {
  const all: StartUp = { importTorch: [], oneDevice: [], twoDevices: [], launcher: [] };
  for (let i = 0; i < rounds; i++) {
    const started = Date.now();
    execFileSync(python, ["-c", "import torch"]);
    all.importTorch.push(Date.now() - started);
    const commandOfOne = Date.now();
    all.oneDevice.push((await runSteps(1)).firstStepAt - commandOfOne);
    const commandOfTwo = Date.now();
    const two = await runSteps(2);
    all.twoDevices.push(two.firstStepAt - commandOfTwo);
    all.launcher.push(two.startedAt - commandOfTwo);
  }
  return all;
}
