// What MLflow takes as names and values, and how much of it in one request.

/** internal: the documented limits of `runs/log-batch`. */
export const limits = {
  metrics: 1000,
  params: 100,
  tags: 100,
  items: 1000,
  /** Bytes of one request. */
  bytes: 1_000_000,
  key: 250,
  paramValue: 6000,
  tagValue: 5000,
} as const;

/** internal: a name that the server accepts: letters, digits and `_-. /`, no empty or dotted part of a path. */
export function mlflowName(name: string): string {
  const allowed = name.replace(/[^\w\-. /]/g, "_");
  const parts = allowed.split("/").map((part) => (part === "" || part === "." || part === ".." ? "_" : part));
  return parts.join("/").slice(0, limits.key);
}

/** internal: a number as JSON can hold it. */
export function mlflowNumber(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}
