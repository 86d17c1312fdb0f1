// Ranks that jsrun starts in an LSF job.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { LSFEnvironment } from "../../dist/environments/lsf.js";
import { isolateVariables, ranksOf, set, temporaryFolder } from "./support.js";

isolateVariables();

describe("LSFEnvironment", () => {
  const folder = temporaryFolder();

  /** The variables of a rank in a job on `hosts`. */
  function setJob(...hosts: string[]): void {
    const file = join(folder.path, "ranks");
    writeFileSync(file, `${hosts.join("\n")}\n`);
    set({ LSB_JOBID: "1234", LSB_DJOB_RANKFILE: file });
    set({ JSM_NAMESPACE_SIZE: "4", JSM_NAMESPACE_RANK: "3", JSM_NAMESPACE_LOCAL_RANK: "1" });
  }

  it("detects itself by four variables, of which none may be missing", () => {
    setJob("launch", hostname());
    assert.equal(LSFEnvironment.detect(), true);
    for (const name of ["LSB_JOBID", "LSB_DJOB_RANKFILE", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_SIZE"]) {
      const value = process.env[name] as string;
      delete process.env[name];
      assert.equal(LSFEnvironment.detect(), false, name);
      process.env[name] = value;
    }
  });

  it("reads hosts from the rank file, without the launch node, and ranks from jsrun's variables", () => {
    setJob("launch", "first", hostname(), hostname());
    const environment = new LSFEnvironment();
    assert.equal(environment.createsProcessesExternally, true);
    assert.deepEqual([environment.mainAddress, environment.mainPort], ["first", 10234]);
    assert.deepEqual([process.env.MASTER_ADDR, process.env.MASTER_PORT], ["first", "10234"]);
    environment.setWorldSize(100);
    environment.setGlobalRank(100);
    assert.deepEqual(ranksOf(environment), [4, 3, 1, 1]);
    environment.validateSettings(2, 2);
    assert.throws(() => environment.validateSettings(4, 2), /\(4 \* 2 = 8\) does not match the world size \(4\)/);
  });

  it("counts a machine once, however many ranks it has, and with or without its domain", () => {
    const own = hostname().split(".", 1)[0] as string;
    setJob("launch", "a", "a", "b", "b", `${own}.example.org`);
    assert.equal(new LSFEnvironment().nodeRank(), 2);
  });

  it("names a machine that is not in the rank file", () => {
    setJob("launch", "a", "10.10.10.1");
    assert.throws(
      () => new LSFEnvironment().nodeRank(),
      /is not among the hosts in LSB_DJOB_RANKFILE: a, 10\.10\.10\.1/,
    );
  });

  it("takes the port from MASTER_PORT or the job's number, and names what is missing", () => {
    setJob("launch", hostname());
    set({ MASTER_PORT: "500" });
    assert.equal(new LSFEnvironment().mainPort, 500);
    delete process.env.MASTER_PORT;
    delete process.env.LSB_JOBID;
    assert.throws(() => new LSFEnvironment(), /Could not find job id in environment variable LSB_JOBID/);
  });

  for (const [name, what, read] of [
    ["JSM_NAMESPACE_SIZE", "world size", (environment: LSFEnvironment) => environment.worldSize()],
    ["JSM_NAMESPACE_RANK", "global rank", (environment: LSFEnvironment) => environment.globalRank()],
    ["JSM_NAMESPACE_LOCAL_RANK", "local rank", (environment: LSFEnvironment) => environment.localRank()],
  ] as const) {
    it(`without ${name} says that the ${what} is not known, and to use jsrun`, () => {
      setJob("launch", hostname());
      const environment = new LSFEnvironment();
      delete process.env[name];
      const message = `Cannot determine ${what}. Environment variable \`${name}\` not found.[^]*jsrun`;
      assert.throws(() => read(environment), new RegExp(message));
    });
  }

  it("names a rank file that is missing, empty, cannot be read or has no hosts", () => {
    assert.throws(() => new LSFEnvironment(), /Did not find the environment variable `LSB_DJOB_RANKFILE`/);
    set({ LSB_DJOB_RANKFILE: "" });
    assert.throws(() => new LSFEnvironment(), /`LSB_DJOB_RANKFILE` is empty/);
    set({ LSB_DJOB_RANKFILE: join(folder.path, "none") });
    assert.throws(() => new LSFEnvironment(), /The rank file of `LSB_DJOB_RANKFILE` cannot be read: ENOENT/);
    setJob("launch");
    assert.throws(() => new LSFEnvironment(), /names no computing host/);
  });
});
