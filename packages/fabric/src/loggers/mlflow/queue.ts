// What waits to be sent to MLflow, in batches within the limits of one request.
import { limits } from "./names.js";

/** internal: a metric as MLflow takes it. */
export interface Metric {
  key: string;
  value: number | string;
  timestamp: number;
  step: number;
}
/** internal: a parameter or tag. */
export interface Pair {
  key: string;
  value: string;
}
/** internal: the body of a request, without the run. */
export interface Batch {
  metrics: Metric[];
  params: Pair[];
  tags: Pair[];
}

/** internal: holds at most so many metrics: the oldest make place for new ones, and are counted. */
export class BatchQueue {
  readonly #most: number;
  #metrics: Metric[] = [];
  #params: Pair[] = [];
  #tags: Pair[] = [];
  #bytes = 0;
  dropped = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get length(): number {
    return this.#metrics.length + this.#params.length + this.#tags.length;
  }

  add({ metrics = [], params = [], tags = [] }: Partial<Batch>): void {
    for (const metric of metrics) this.#metrics.push(metric);
    this.#params.push(...params);
    this.#tags.push(...tags);
    // Not one by one: each time, the array moves.
    const excess = this.#metrics.length - this.#most;
    if (excess <= 0) return;
    this.dropped += excess;
    this.#metrics.splice(0, excess);
  }

  /** Takes the next batch out. Parameters and tags go first, and not together with metrics, which outlive a refusal of theirs. */
  take(): Batch {
    this.#bytes = 0;
    // The server refuses a batch with two values for one parameter: the second goes into the next one, and is refused alone.
    const keys = new Set<string>();
    const params = this.#takeFrom(this.#params, limits.params, ({ key }) => keys.size < keys.add(key).size);
    const tags = this.#takeFrom(this.#tags, limits.tags);
    const isFull = params.length + tags.length > 0;
    return { metrics: isFull ? [] : this.#takeFrom(this.#metrics, limits.metrics), params, tags };
  }

  #takeFrom<T>(items: T[], most: number, isWanted: (item: T) => boolean = () => true): T[] {
    let count = 0;
    for (; count < Math.min(most, items.length); count++) {
      const item = items[count] as T;
      const bytes = Buffer.byteLength(JSON.stringify(item)) + 1;
      // Room for the names around the items.
      if (this.#bytes + bytes > limits.bytes - 1000 || !isWanted(item)) break;
      this.#bytes += bytes;
    }
    return items.splice(0, count);
  }
}

/** internal: a batch in two halves, to find the item that the server does not want; null for a single item. */
export function halves(batch: Batch): [Batch, Batch] | null {
  const kinds = ["metrics", "params", "tags"] as const;
  const items = kinds.flatMap((kind) => batch[kind].map((item) => ({ kind, item })));
  if (items.length < 2) return null;
  const part = (from: number, to: number): Batch => {
    const result: Batch = { metrics: [], params: [], tags: [] };
    for (const { kind, item } of items.slice(from, to)) (result[kind] as unknown[]).push(item);
    return result;
  };
  const middle = items.length >> 1;
  return [part(0, middle), part(middle, items.length)];
}
