// Checkpoints as safetensors files, whatever they are called.
import type { CheckpointPath } from "./checkpoint-io.js";
import { TorchCheckpointIO } from "./torch-checkpoint-io.js";

/**
 * Stores every checkpoint as a safetensors file. Tensors are in it by their place (`"model.layer.weight"`), all else as JSON in the
 * metadata. `TorchCheckpointIO`, the default, does so for names that end in `.safetensors`.
 *
 *     const fabric = new Fabric({ plugins: [new SafetensorsCheckpointIO()] });
 */
export class SafetensorsCheckpointIO extends TorchCheckpointIO {
  protected override formatOf(_path: CheckpointPath): "safetensors" {
    return "safetensors";
  }
}
