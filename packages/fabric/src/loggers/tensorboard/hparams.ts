// The three summaries by which TensorBoard's HParams page knows the hyper-parameters of a run.
import { Tensor } from "@fabric-ts/torch";
import type { ProtoWriter } from "./protobuf.js";
import { writePluginData } from "./summaries.js";

// The numbers of api.proto.
const dataTypes = { string: 1, boolean: 2, number: 3 } as const;
const statusSuccess = 1;

type Plain = string | number | boolean;

/** internal: writers of the summaries: which parameters and metrics there are, their values in this run, and that it ended well. */
export function hparamsSummaries(
  params: Record<string, unknown>,
  metrics: Record<string, unknown>,
): ((summary: ProtoWriter) => unknown)[] {
  const plain = Object.entries(params).map(([name, value]): [string, Plain] => [name, plainValue(value)]);
  const part = (tag: string, field: number, fill: (data: ProtoWriter) => unknown) => (summary: ProtoWriter) =>
    summary.message(1, (value) => {
      value.string(1, tag);
      writePluginData(value, "hparams", (content) => content.message(field, fill));
    });
  return [
    part("_hparams_/experiment", 2, (experiment) => {
      for (const [name, value] of plain) {
        experiment.message(4, (info) =>
          info.string(1, name).int64(4, dataTypes[typeof value as keyof typeof dataTypes]),
        );
      }
      for (const tag of Object.keys(metrics)) {
        experiment.message(5, (info) => info.message(1, (metric) => metric.string(2, tag)));
      }
    }),
    part("_hparams_/session_start_info", 3, (start) => {
      for (const [name, value] of plain) {
        start.message(1, (entry) => entry.string(1, name).message(2, (struct) => writeValue(struct, value)));
      }
    }),
    part("_hparams_/session_end_info", 4, (end) => end.int64(1, statusSuccess)),
  ];
}

/** A google.protobuf.Value. */
function writeValue(struct: ProtoWriter, value: Plain): void {
  if (typeof value === "boolean") struct.bool(4, value);
  else if (typeof value === "number") struct.double(2, value);
  else struct.string(3, value);
}

function plainValue(value: unknown): Plain {
  if (value instanceof Tensor) return value.numel() === 1 ? Number(value.item()) : value.toString();
  return value as Plain;
}
