// TensorBoard's summaries: what one event shows under one name.
import { encodePng, type Pixels } from "./png.js";
import type { ProtoWriter } from "./protobuf.js";

/** internal: writes the one value of a summary. */
export type SummaryValue = (value: ProtoWriter) => unknown;

/** internal: one number. */
export function scalar(number: number): SummaryValue {
  return (value) => value.float(2, number);
}

/** internal: a picture. */
export function image(pixels: Pixels): SummaryValue {
  return (value) =>
    value.message(4, (message) =>
      message.int64(1, pixels.height).int64(2, pixels.width).int64(3, pixels.channels).bytes(4, encodePng(pixels)),
    );
}

/** internal: a tensor of one text, marked for the page of texts. */
export function text(content: string): SummaryValue {
  return (value) => {
    value.message(8, (tensor) =>
      tensor
        .int64(1, 7)
        .message(2, (shape) => shape.message(2, (dimension) => dimension.int64(1, 1)))
        .bytes(8, Buffer.from(content)),
    );
    writePluginData(value, "text", () => {});
  };
}

/** internal: says which page of TensorBoard a value is for, and what it needs to know. */
export function writePluginData(value: ProtoWriter, plugin: string, fill: (content: ProtoWriter) => unknown): void {
  value.message(9, (metadata) => metadata.message(1, (data) => data.string(1, plugin).message(2, fill)));
}
