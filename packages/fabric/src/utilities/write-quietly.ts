// Writing to a terminal, or to what stands in its place.

/** internal: what writing needs of a stream. */
export interface QuietStream {
  write(text: string, done?: (error?: Error | null) => void): unknown;
  once?(event: "error", listener: () => void): unknown;
  listenerCount?(event: "error"): number;
}

/** internal: writes as `console.log` does: a reader that has gone away is no error. */
export function writeQuietly(stream: QuietStream, text: string): void {
  stream.write(text, (error) => {
    if (error && stream.listenerCount?.("error") === 0) stream.once?.("error", () => {});
  });
}
