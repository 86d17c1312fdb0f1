// What runs and speaks on rank zero only, and messages that are given once.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { afterEach, describe, it } from "node:test";
import {
  catchWarnings,
  rankPrefixedMessage,
  rankZeroDeprecation,
  rankZeroOnly,
  rankZeroWarn,
  WarningCache,
} from "@fabric-ts/fabric";
import { rankFromEnvironment } from "../../dist/utilities/rank-zero.js";
import { cleanEnvironment } from "../support/run-ranks.js";

afterEach(() => {
  rankZeroOnly.rank = 0;
});

describe("rankZeroOnly", () => {
  it("runs a function on rank zero and returns the other value elsewhere", () => {
    const add = rankZeroOnly((a: number, b: number) => a + b);
    const orNone = rankZeroOnly((a: number) => a, "none");
    assert.deepEqual([add(1, 2), orNone(5)], [3, 5]);
    rankZeroOnly.rank = 1;
    assert.deepEqual([add(1, 2), orNone(5)], [undefined, "none"]);
  });
  it("keeps `this`, and decorates methods", () => {
    class Saver {
      saved: string[] = [];
      save(name: string): void {
        this.saved.push(name);
      }
    }
    // What a compiler makes of `@rankZeroOnly save() {}`.
    const context = {
      kind: "method",
      name: "save",
      addInitializer: () => {},
    } as unknown as ClassMethodDecoratorContext;
    Saver.prototype.save = rankZeroOnly(Saver.prototype.save, context);
    const saver = new Saver();
    saver.save("a");
    rankZeroOnly.rank = 3;
    assert.equal(saver.save("b"), undefined);
    assert.deepEqual(saver.saved, ["a"]);
  });
  it("wants a function", () => {
    assert.throws(() => rankZeroOnly(3 as never), /Expected `rankZeroOnly` to be given a function, but got 3/);
  });
  it("is an error while no rank is set", () => {
    rankZeroOnly.rank = undefined;
    assert.equal(rankZeroOnly.rank, undefined);
    assert.throws(() => rankZeroOnly(() => 1)(), {
      name: "UsageError",
      message: /^The `rankZeroOnly.rank` needs to be set before use/,
    });
    assert.throws(() => rankZeroWarn("x"), /needs to be set before use/);
  });
  it("begins with the first rank variable that is set, and writes messages on rank zero", () => {
    const program = `
      import { rankZeroOnly, rankZeroInfo, rankZeroDebug } from "@fabric-ts/fabric";
      rankZeroInfo("info"); rankZeroDebug("debug 100%s");
      console.log(String(rankZeroOnly.rank));`;
    const run = (env: Record<string, string>): { stdout: string; stderr: string } =>
      spawnSync(process.execPath, ["--input-type=module", "-e", program], {
        encoding: "utf8",
        env: { ...cleanEnvironment(), NODE_DEBUG: "fabric", ...env },
      });
    const first = run({});
    assert.equal(first.stdout, "0\n");
    assert.match(first.stderr, /^info\n/);
    assert.match(first.stderr, /FABRIC \d+: debug 100%s/);
    const second = run({ SLURM_PROCID: "2", LOCAL_RANK: "1" });
    assert.deepEqual([second.stdout, second.stderr], ["1\n", ""]);
  });
  it("looks for RANK before LOCAL_RANK, and for the variables of clusters after them", () => {
    const order = [
      "RANK",
      "LOCAL_RANK",
      "OMPI_COMM_WORLD_RANK",
      "SLURM_PROCID",
      "JSM_NAMESPACE_RANK",
      "MV2_COMM_WORLD_RANK",
      "PMI_RANK",
    ];
    const env: Record<string, string> = {};
    assert.equal(rankFromEnvironment(env), undefined);
    for (const [index, name] of order.reverse().entries()) {
      env[name] = String(index);
      assert.equal(rankFromEnvironment(env), index, name);
    }
  });
});

describe("messages", () => {
  it("are given on rank zero, and deprecations are of a kind of their own", async () => {
    const give = (): void => {
      rankZeroWarn("a");
      rankZeroDeprecation("b");
    };
    assert.deepEqual(await catchWarnings(give), [
      { message: "a", kind: "UserWarning" },
      { message: "b", kind: "DeprecationWarning" },
    ]);
    rankZeroOnly.rank = 1;
    assert.deepEqual(await catchWarnings(give), []);
  });
  it("name their rank where there is one", () => {
    assert.equal(rankPrefixedMessage("text", 2), "[rank: 2] text");
    assert.equal(rankPrefixedMessage("text", null), "text");
  });
  it("are given once by a WarningCache", async () => {
    const cache = new WarningCache();
    const caught = await catchWarnings(() => {
      for (let i = 0; i < 2; i++) {
        cache.warn("a");
        cache.warn("b", "PossibleUserWarning");
        cache.deprecation("c");
        cache.deprecation("a");
        cache.info("b");
      }
    });
    assert.deepEqual(caught, [
      { message: "a", kind: "UserWarning" },
      { message: "b", kind: "PossibleUserWarning" },
      { message: "c", kind: "DeprecationWarning" },
    ]);
    assert.deepEqual([...cache], ["a", "b", "c"]);
  });
  it("are printed with their kind and without the line that gave them, deprecations too", () => {
    const program = `
      import { rankZeroWarn, rankZeroDeprecation } from "@fabric-ts/fabric";
      rankZeroWarn("a warning"); rankZeroDeprecation("a deprecation");`;
    const { stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      encoding: "utf8",
      env: cleanEnvironment(),
    });
    const lines = stderr.split("\n").filter((line) => !line.startsWith("(Use `node --trace"));
    assert.deepEqual(
      lines.map((line) => line.replace(/^\(node:\d+\) /, "")),
      ["UserWarning: a warning", "DeprecationWarning: a deprecation", ""],
    );
  });
  it("of the kind PossibleUserWarning are silenced by POSSIBLE_USER_WARNINGS and by a call", () => {
    const program = `
      import { rankZeroWarn, disablePossibleUserWarnings } from "@fabric-ts/fabric";
      process.on("warning", ({ message }) => console.log(message));
      rankZeroWarn("sure"); rankZeroWarn("possible", "PossibleUserWarning");
      setImmediate(() => { disablePossibleUserWarnings(); rankZeroWarn("later", "PossibleUserWarning"); });`;
    const run = (value: string): string =>
      spawnSync(process.execPath, ["--no-warnings", "--input-type=module", "-e", program], {
        encoding: "utf8",
        env: { ...cleanEnvironment(), POSSIBLE_USER_WARNINGS: value },
      }).stdout;
    assert.equal(run("1"), "sure\npossible\n");
    assert.equal(run("OFF"), "sure\n");
    assert.equal(run("0"), "sure\n");
  });
});
