// What registering a hook returns: the means to take it away again.

let nextId = 0;

/** Takes a registered hook away, by `remove()` or at the end of a `using` block. Removing twice is harmless. */
export class RemovableHandle {
  readonly #remove: () => void;

  /** internal: handed out by the `register...Hook` methods. */
  constructor(remove: () => void) {
    this.#remove = remove;
  }

  /** Takes the hook away. */
  remove(): void {
    this.#remove();
  }

  [Symbol.dispose](): void {
    this.#remove();
  }
}

/** internal: adds a hook to an ordered table; hooks run in the order in which they were added, `prepend` puts one first. */
export function addHook<T>(
  table: Map<number, T>,
  hook: T,
  prepend = false,
  changed: () => void = () => {},
): RemovableHandle {
  const id = nextId++;
  if (prepend) {
    const others = [...table];
    table.clear();
    table.set(id, hook);
    for (const [key, value] of others) table.set(key, value);
  } else table.set(id, hook);
  changed();
  return new RemovableHandle(() => {
    table.delete(id);
    changed();
  });
}
