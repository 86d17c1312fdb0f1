// Values on their way into collectives (numbers become tensors) and into loggers (tensors become numbers).
import * as torch from "@fabric-ts/torch";
import { ConfigurationError, type Device, Tensor } from "@fabric-ts/torch";
import { applyToCollection } from "./apply-to-collection.js";

/**
 * internal: numbers become float32 tensors, bigints int64, booleans uint8, typed arrays their own dtype; all tensors are moved
 * to `device`. Strings and other objects pass unchanged. (JavaScript cannot tell 1 from 1.0, hence float32: a mean must not truncate.)
 */
export function convertToTensors(data: unknown, device: Device): unknown {
  const isConvertible = (value: unknown): boolean =>
    typeof value === "number" ||
    typeof value === "bigint" ||
    typeof value === "boolean" ||
    value instanceof Tensor ||
    (ArrayBuffer.isView(value) && !(value instanceof DataView));
  return applyToCollection(data, isConvertible, (value: unknown) => {
    if (value instanceof Tensor) return value.to(device);
    if (typeof value === "boolean") return torch.tensor(value ? 1 : 0, { dtype: "uint8", device });
    if (typeof value === "number") return torch.tensor(value, { dtype: "float32", device });
    if (typeof value === "bigint") return torch.tensor(value, { dtype: "int64", device });
    return torch.tensor(value as torch.TypedArray).to(device);
  });
}

/** internal: every tensor becomes a number; one with more than one element, and what is still waited for, is refused. */
export function convertTensorsToScalars(data: unknown): unknown {
  return applyToCollection(
    data,
    (value) => value instanceof Tensor || value instanceof Promise,
    (value: Tensor | Promise<unknown>) => {
      if (value instanceof Promise) {
        throw new TypeError(
          'The metric is a promise, it cannot be converted to a scalar.\nAwait it: `fabric.log("loss", await fabric.allReduce(loss))`.',
        );
      }
      if (value.numel() !== 1) {
        throw new ConfigurationError(
          `The metric has shape [${value.shape.join(", ")}], it cannot be converted to a scalar.`,
          {
            hint: "Log one number: reduce it first, for example with `.mean()`.",
          },
        );
      }
      return value.item();
    },
  );
}
