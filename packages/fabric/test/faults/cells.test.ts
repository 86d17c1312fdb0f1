// The table of the fault matrix itself; the cells run in `npm run test:faults`.
import assert from "node:assert/strict";
import { it } from "node:test";
import { allCells, chosenCells, faults, launchers, pairsOf, phases, titleOf } from "./cells.js";

it("there is a cell for every fault in every phase that can have it, of every rank, under every launcher", () => {
  const all = allCells();
  assert.equal(new Set(all.map(titleOf)).size, all.length);
  // Nine phases can have all five faults, two the signals only, and the end all but the loop; rank 0 alone writes.
  assert.equal(all.length, 3 * (6 * (9 * 5 + 2 * 2 + 4) + 2 * 2));
});

it("the chosen cells have every pair of launcher, victim, fault and phase, and are the same every time", () => {
  const chosen = chosenCells();
  const pairs = new Set(chosen.flatMap(pairsOf));
  assert.deepEqual(
    allCells()
      .flatMap(pairsOf)
      .filter((pair) => !pairs.has(pair)),
    [],
  );
  for (const launcher of launchers) {
    for (const fault of faults) assert.ok(pairs.has(`launcher ${launcher}, fault ${fault}`));
  }
  for (const phase of phases) assert.ok(pairs.has(`fault SIGKILL, phase ${phase}`));
  assert.deepEqual(chosenCells(), chosen);
  assert.equal(new Set(chosen.map(titleOf)).size, chosen.length);
});
