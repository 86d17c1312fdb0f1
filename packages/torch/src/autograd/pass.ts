// internal: which backward pass is running, as a number.

let current = 0;
let last = 0;

/** internal: runs the engine; passes inside of passes have numbers of their own. */
export function runPass<T>(body: () => T): T {
  const outer = current;
  current = ++last;
  try {
    return body();
  } finally {
    current = outer;
  }
}

/** internal: the number of the innermost running pass; outside of passes a new one each time. */
export function currentPass(): number {
  return current === 0 ? ++last : current;
}
