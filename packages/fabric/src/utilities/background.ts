// What goes on behind the training loop and has to be over before a process is ended, or lets itself be ended.

type Finish = () => Promise<void>;

const unfinished = new Set<Finish>();

/** internal: `finish` waits for something that has begun, and throws what went wrong with it. */
export function hasBegun(finish: Finish): void {
  unfinished.add(finish);
}

/** internal: takes back `hasBegun`. */
export function hasEnded(finish: Finish): void {
  unfinished.delete(finish);
}

/** internal: waits for all that has begun in this process. Throws the first error when all are over. */
export async function finishAll(): Promise<void> {
  const ends = await Promise.allSettled([...unfinished].map((finish) => finish()));
  const failed = ends.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
