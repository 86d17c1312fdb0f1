import assert from "node:assert/strict";
import { it } from "node:test";
import { programCommand } from "../../dist/launchers/program.js";

const facts = {
  execPath: "/bin/node",
  execArgv: [] as string[],
  argv: ["/bin/node", "/a/train.js", "--lr", "0.1"],
  debugPort: 9229,
  env: {},
};
const argsOf = (localRank: number, changes: Partial<typeof facts>) =>
  programCommand(localRank, "/p.cjs", { ...facts, ...changes }).args;

it("runs the same script with the same arguments, after the preload", () => {
  assert.deepEqual(programCommand(0, "/p.cjs", facts), {
    file: "/bin/node",
    args: ["--require", "/p.cjs", "/a/train.js", "--lr", "0.1"],
  });
});

it("keeps flags and loaders", () => {
  const execArgv = ["--import", "tsx", "--max-old-space-size=100"];
  assert.deepEqual(argsOf(0, { execArgv }).slice(2, 6), [...execArgv, "/a/train.js"]);
});

for (const [flag, expected] of [
  ["--inspect", "9231"],
  ["--inspect-brk=9229", "9231"],
  ["--inspect=0.0.0.0:9229", "0.0.0.0:9231"],
  ["--inspect=[::1]:9229", "[::1]:9231"],
  ["--inspect=0", "0"],
] as const) {
  it(`gives each rank an inspector port of its own for ${flag}`, () => {
    assert.equal(argsOf(1, { execArgv: [flag] })[3], `--inspect-port=${expected}`);
    assert.ok(argsOf(1, { env: { NODE_OPTIONS: flag } }).includes(`--inspect-port=${expected}`));
  });
}

it("adds no inspector port when nobody inspects", () => {
  assert.ok(
    !argsOf(1, { execArgv: ["--inspector-like"], env: { NODE_OPTIONS: "--no-warnings" } })
      .join(" ")
      .includes("inspect-port"),
  );
});

it("runs an inline program again", () => {
  const execArgv = ["--input-type=module", "-e", "code"];
  assert.deepEqual(argsOf(0, { execArgv, argv: ["/bin/node", "x"] }).slice(2), [...execArgv, "--", "x"]);
});

it("refuses a REPL", () => {
  assert.throws(
    () => programCommand(0, "/p.cjs", { ...facts, argv: ["/bin/node"] }),
    /cannot start more processes from a REPL/,
  );
});
