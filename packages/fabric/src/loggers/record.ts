// Which values are dictionaries: of metrics, or of hyper-parameters.
import { isPlainObject } from "../utilities/apply-to-collection.js";

/** internal: true for plain objects, and for instances of classes that are no more than their fields (Python's dataclasses). */
export function isRecord(value: unknown): value is Record<string, unknown> {
  if (isPlainObject(value)) return true;
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return false;
  // What has a text of its own, an iterator or a tag is no record: tensors, dates, expressions, sets, promises.
  return value.toString === Object.prototype.toString && !(Symbol.iterator in value) && !(Symbol.toStringTag in value);
}
