// Ranks of several machines meet at a port: in order, after a restart, and not at all; awaited, and with a blocked thread.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort } from "../launchers/job.js";

const program = fileURLToPath(new URL("./programs/meeting.js", import.meta.url));

class Rank {
  readonly child: ChildProcess;
  readonly end: Promise<string>;
  output = "";

  constructor(rank: number, attempt: number, port: number, how: string) {
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined, MASTER_ADDR: "127.0.0.1" };
    this.child = spawn(process.execPath, [program, String(rank), String(attempt), String(port), how], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.output += text));
    this.end = new Promise((resolve) => this.child.on("close", () => resolve(this.output)));
  }

  async comes(): Promise<void> {
    while (!this.output.includes("coming")) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for (const how of ["async", "sync"]) {
  describe(how === "sync" ? "with a blocked thread" : "awaited", () => {
    it("ranks meet, whoever comes first", async () => {
      const port = await freePort();
      const late = new Rank(1, 0, port, how);
      await late.comes();
      const ranks = [new Rank(0, 0, port, how), late];
      for (const rank of ranks) assert.match(await rank.end, /^coming\nmet 0,1\n$/);
    });

    it("a rank of a new attempt that has come to the last one's store waits for its own", async () => {
      const port = await freePort();
      const last = new Rank(0, 0, port, how);
      await last.comes();
      const next = new Rank(1, 1, port, how);
      await next.comes();
      // Long enough to be there, whichever of the two is the slower one.
      await new Promise((resolve) => setTimeout(resolve, 1500));
      last.child.kill("SIGKILL");
      await last.end;
      const fresh = new Rank(0, 1, port, how);
      for (const rank of [fresh, next]) assert.match(await rank.end, /^coming\nmet 0,1\n$/);
    });

    it("a rank that stays away is named", async () => {
      const rank = new Rank(0, 0, await freePort(), `${how} short`);
      assert.match(
        await rank.end,
        /DistributedError: Rank 0 waited 1\.5 s for all 2 ranks to meet: present are 0, missing are 1\.\n/,
      );
    });

    it("a rank that finds nobody at the port says where it has looked", async () => {
      const port = await freePort();
      const rank = new Rank(1, 0, port, `${how} short`);
      assert.match(
        await rank.end,
        new RegExp(`DistributedError: Rank 1 cannot reach rank 0 at 127\\.0\\.0\\.1:${port}: `),
      );
    });
  });
}
