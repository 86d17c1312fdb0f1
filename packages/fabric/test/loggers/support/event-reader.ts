// A second implementation of TensorBoard's files, to compare with: protobufjs reads the messages, from their published definition, and the
// framing and its checksum are computed here bit by bit.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";

const definition = `
  syntax = "proto3";
  message Event {
    double wall_time = 1;
    int64 step = 2;
    oneof what { string file_version = 3; bytes graph_def = 4; Summary summary = 5; }
  }
  message SummaryMetadata {
    message PluginData { string plugin_name = 1; bytes content = 2; }
    PluginData plugin_data = 1;
    string display_name = 2;
    string summary_description = 3;
  }
  message HistogramProto {
    double min = 1; double max = 2; double num = 3; double sum = 4; double sum_squares = 5;
    repeated double bucket_limit = 6 [packed = true];
    repeated double bucket = 7 [packed = true];
  }
  message TensorShapeProto {
    message Dim { int64 size = 1; string name = 2; }
    repeated Dim dim = 2;
    bool unknown_rank = 3;
  }
  message TensorProto { int32 dtype = 1; TensorShapeProto tensor_shape = 2; repeated bytes string_val = 8; }
  message Summary {
    message Image { int32 height = 1; int32 width = 2; int32 colorspace = 3; bytes encoded_image_string = 4; }
    message Value {
      string tag = 1;
      SummaryMetadata metadata = 9;
      oneof value { float simple_value = 2; Image image = 4; HistogramProto histo = 5; TensorProto tensor = 8; }
    }
    repeated Value value = 1;
  }
  enum DataType { DATA_TYPE_UNSET = 0; DATA_TYPE_STRING = 1; DATA_TYPE_BOOL = 2; DATA_TYPE_FLOAT64 = 3; }
  enum Status { STATUS_UNKNOWN = 0; STATUS_SUCCESS = 1; STATUS_FAILURE = 2; STATUS_RUNNING = 3; }
  message ListValue { repeated Value values = 1; }
  message Value { oneof kind { int32 null_value = 1; double number_value = 2; string string_value = 3; bool bool_value = 4; } }
  message HParamInfo { string name = 1; string display_name = 2; string description = 3; DataType type = 4; ListValue domain_discrete = 5; }
  message MetricName { string group = 1; string tag = 2; }
  message MetricInfo { MetricName name = 1; string display_name = 3; }
  message Experiment { string description = 1; repeated HParamInfo hparam_infos = 4; repeated MetricInfo metric_infos = 5; string name = 6; }
  message SessionStartInfo { map<string, Value> hparams = 1; string model_uri = 2; string group_name = 4; double start_time_secs = 5; }
  message SessionEndInfo { Status status = 1; double end_time_secs = 2; }
  message HParamsPluginData {
    int32 version = 1;
    oneof data { Experiment experiment = 2; SessionStartInfo session_start_info = 3; SessionEndInfo session_end_info = 4; }
  }
  message AttrValue {
    message ListOf { repeated TensorShapeProto shape = 7; }
    oneof value { ListOf list = 1; bytes s = 2; int64 i = 3; }
  }
  message NodeDef { string name = 1; string op = 2; repeated string input = 3; string device = 4; map<string, AttrValue> attr = 5; }
  message VersionDef { int32 producer = 1; }
  message GraphDef { repeated NodeDef node = 1; VersionDef versions = 4; }
`;
const types = protobuf.parse(definition, { keepCase: true }).root;

/** A message as a plain object. */
// biome-ignore lint/suspicious/noExplicitAny: what is in it is what the test is about
export type Message = any;

/** Decodes a message by the name of its type; bytes stay bytes, long integers become numbers. */
export function decode(type: string, bytes: Uint8Array): Message {
  const found = types.lookupType(type);
  return found.toObject(found.decode(bytes), { longs: Number, enums: String });
}

/** The records of a file. With `allowTorn`, an incomplete last one is left out; anything else that is wrong is an error. */
export function readRecords(bytes: Uint8Array, allowTorn = false): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = at + 12 <= bytes.length ? Number(view.getBigUint64(at, true)) : Number.POSITIVE_INFINITY;
    const end = at + 12 + length + 4;
    if (end > bytes.length) {
      assert.ok(allowTorn, "the last record is torn");
      break;
    }
    assert.equal(view.getUint32(at + 8, true), masked(bytes.subarray(at, at + 8)), "the checksum of a length");
    const data = bytes.subarray(at + 12, at + 12 + length);
    assert.equal(view.getUint32(end - 4, true), masked(data), "the checksum of a record");
    records.push(data);
    at = end;
  }
  return records;
}

/** The events of a file. */
export function readEvents(path: string): Message[] {
  return readRecords(readFileSync(path)).map((record) => decode("Event", record));
}

/** All values in the event files of a folder (not of those in it), with their steps, without the header. */
export function readValues(folder: string): (Message & { step: number })[] {
  const files = readdirSync(folder).filter((name) => name.startsWith("events.out.tfevents."));
  return files.flatMap((name) => {
    const [header, ...events] = readEvents(join(folder, name));
    assert.equal(header.file_version, "brain.Event:2");
    return events.flatMap((event) =>
      (event.summary?.value ?? []).map((value: Message) => ({ ...value, step: event.step ?? 0 })),
    );
  });
}

/** The numbers that were logged under each name, as [step, value]. */
export function readScalars(folder: string): Record<string, [number, number][]> {
  const result: Record<string, [number, number][]> = {};
  for (const { tag, simple_value, step } of readValues(folder)) {
    if (simple_value === undefined) continue;
    result[tag] ??= [];
    result[tag].push([step, simple_value]);
  }
  return result;
}

function masked(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const isOdd = ((crc ^ (byte >>> bit)) & 1) === 1;
      crc = (crc >>> 1) ^ (isOdd ? 0x82f63b78 : 0);
    }
  }
  const value = BigInt(~crc >>> 0);
  return Number((((value >> 15n) | (value << 17n)) + 0xa282ead8n) & 0xffffffffn);
}
