// A name only: LibTorch has no TPU support, so that asking for one gives a clear answer.
import { type Device, NotSupportedError } from "@fabric-ts/torch";
import { Accelerator } from "./accelerator.js";

/** Never available: TPUs need PyTorch/XLA, which is Python. */
export class TPUAccelerator extends Accelerator {
  override readonly name = "tpu";

  override isAvailable(): boolean {
    return false;
  }
  override autoDeviceCount(): number {
    return 0;
  }
  override parseDevices(): never {
    throw unavailable();
  }
  override getParallelDevices(): Device[] {
    throw unavailable();
  }
  override setupDevice(): never {
    throw unavailable();
  }
  override teardown(): void {}
}

function unavailable(): NotSupportedError {
  return new NotSupportedError("TPUs need PyTorch/XLA, which does not exist for LibTorch.", {
    hint: 'Use `accelerator: "auto"`.',
  });
}
