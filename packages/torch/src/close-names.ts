// Which known names an unknown one is close to: "Did you mean ...?"

/**
 * The known names that `name` was probably meant to be, nearest first, those equally near in the given order; at most three.
 * Case, underscores and hyphens do not count, so Python's snake_case finds its camelCase.
 */
export function closeNames(name: string, known: Iterable<string>): string[] {
  const wanted = plain(name);
  const limit = wanted.length <= 3 ? 1 : Math.max(2, Math.floor(wanted.length / 3));
  return [...new Set(known)]
    .map((candidate) => ({ candidate, edits: distance(wanted, plain(candidate), limit) }))
    .filter(({ edits }) => edits <= limit)
    .sort((a, b) => a.edits - b.edits)
    .slice(0, 3)
    .map(({ candidate }) => candidate);
}

/** The nearest of `closeNames`, or undefined. */
export function closestName(name: string, known: Iterable<string>): string | undefined {
  return closeNames(name, known)[0];
}

function plain(name: string): string {
  return name.replace(/[_-]/g, "").toLowerCase();
}

/** Edits that turn one text into the other, two swapped letters being one; `limit + 1` where the lengths say that there are more. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let above: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwap) least = Math.min(least, (above[j - 2] as number) + 1);
      next.push(least);
    }
    above = row;
    row = next;
  }
  return row[b.length] as number;
}
