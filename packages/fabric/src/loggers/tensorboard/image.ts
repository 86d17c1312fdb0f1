// Tensors as pixels.
import { ConfigurationError, Tensor } from "@fabric-ts/torch";
import { describe } from "../../utilities/describe.js";
import type { Pixels } from "./png.js";

/** What the dimensions of an image, or of a batch of images, are: number, channels, height, width. */
export type DataFormat = "CHW" | "HWC" | "HW" | "NCHW" | "NHWC";

/** Images next to each other in a row of a grid. */
const perRow = 8;

/**
 * internal: the pixels of a tensor. Floats are 0 to 1, integers 0 to 255; what is outside is cut off. A batch becomes a grid, eight in
 * a row. One channel is grey, three are red, green and blue; two and four have opacity as their last.
 */
export function pixelsOf(image: Tensor, format: DataFormat): Pixels {
  if (!(image instanceof Tensor)) throw new TypeError(`Expected the image to be a Tensor, but got ${describe(image)}.`);
  if (typeof format !== "string" || !["CHW", "HWC", "HW", "NCHW", "NHWC"].includes(format)) {
    throw new ConfigurationError(`There is no image format ${describe(format)}.`, {
      hint: 'It is "CHW", "HWC", "HW", "NCHW" or "NHWC".',
    });
  }
  const size = (letter: string): number => (format.includes(letter) ? image.size(format.indexOf(letter)) : 1);
  const channels = image.dim() === format.length ? size("C") : 0;
  if (channels < 1 || channels > 4 || image.numel() === 0) {
    throw new ConfigurationError(
      `A tensor of shape [${image.shape.join(", ")}] is no image in the format ${format}: it has ${format.length} dimensions, 1 to 4 channels (C) and no empty dimension.`,
      { hint: 'Name the order of its dimensions, such as `{ dataFormat: "HWC" }`.' },
    );
  }
  const values = image.detach().to("cpu").contiguous();
  const bytes = toBytes(values, image.isFloatingPoint());
  const [count, height, width] = [size("N"), size("H"), size("W")];
  const columns = Math.min(count, perRow);
  const grid = new Uint8Array(count === 1 ? 0 : Math.ceil(count / columns) * height * columns * width * channels);
  const result = count === 1 ? new Uint8Array(bytes.length) : grid;
  const isChannelLast = format.endsWith("C");
  for (let n = 0; n < count; n++) {
    const [top, left] = [Math.floor(n / columns) * height, (n % columns) * width];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < channels; c++) {
          const from = isChannelLast
            ? ((n * height + y) * width + x) * channels + c
            : ((n * channels + c) * height + y) * width + x;
          result[((top + y) * columns * width + left + x) * channels + c] = bytes[from] as number;
        }
      }
    }
  }
  return {
    height: Math.ceil(count / columns) * height,
    width: columns * width,
    channels: channels as Pixels["channels"],
    bytes: result,
  };
}

function toBytes(values: Tensor, isFloat: boolean): Uint8ClampedArray {
  const numbers = values.to("float32").toTypedArray() as Float32Array;
  const result = new Uint8ClampedArray(numbers.length);
  // Truncated like PyTorch's, not rounded; assignment cuts off and makes 0 of NaN.
  for (let i = 0; i < numbers.length; i++) result[i] = Math.trunc((numbers[i] as number) * (isFloat ? 255 : 1));
  return result;
}
