// Runs are ended with SIGKILL at random moments, again and again, and started again until they are done. Each has to end with the bits of a
// run that nobody disturbed: weights, losses, rates, the loss scale, and as many steps. 300 kills in all.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { cleanEnvironment } from "../support/run-ranks.js";

const program = fileURLToPath(new URL("./programs/resumable.js", import.meta.url));
const root = mkdtempSync(join(tmpdir(), "fabric-faults-"));
after(() => rmSync(root, { recursive: true }));

// FABRIC_KILLS sets another number, FABRIC_SEED another sequence of moments.
const kills = Number(process.env.FABRIC_KILLS ?? 300);
const seed = Number(process.env.FABRIC_SEED ?? 1);
// Of `npm run test:faults -- --filter`.
const filter = (process.env.FABRIC_FAULTS_FILTER ?? "").split(" ").filter(Boolean);
const longestLifeMs = 60_000;

/** A way of running the program; `share` of all kills hit it. */
interface Variant {
  name: string;
  share: number;
  env: Record<string, string>;
}
const variants: Variant[] = [
  { name: "one process", share: 0.45, env: {} },
  {
    name: "one process that saves in the background, a safetensors file",
    share: 0.45,
    env: { TEST_ASYNC: "1", TEST_FILE: "last.safetensors" },
  },
  { name: "two ranks", share: 0.1, env: { TEST_DEVICES: "2" } },
];

interface Life {
  output: string;
  wasKilled: boolean;
  leftovers: number;
}

function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** When a run is ended: after so many steps and a part of the next one, or a part of a second after its start. Null: never. */
type Moment = { steps: number; part: number } | { seconds: number } | null;

function randomMoment(random: () => number): Moment {
  if (random() < 0.1) return { seconds: random() * 0.8 };
  return { steps: 1 + Math.floor(random() * 5), part: random() };
}

/** Runs the program to its end, or to a moment at which all of its processes are killed. */
async function live(folder: string, env: Record<string, string>, moment: Moment): Promise<Life> {
  const child = spawn(process.execPath, [program], {
    env: { ...cleanEnvironment(), OMP_NUM_THREADS: "1", ...env, TEST_FOLDER: folder },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let errors = "";
  let wasKilled = false;
  const kill = (): void => {
    wasKilled = true;
    // The launcher first: it would end the others in good order.
    for (const pid of new Set([child.pid as number, ...pidsIn(output)])) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // Ended meanwhile.
      }
    }
  };
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const times: number[] = [];
  let plan: NodeJS.Timeout | undefined;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    for (const _ of text.matchAll(/step \d+$/gm)) times.push(performance.now());
    if (moment === null || !("steps" in moment) || plan !== undefined || times.length < moment.steps) return;
    const [before = 0, last = 15] = times.slice(-2);
    plan = setTimeout(kill, moment.part * (times.length > 1 ? last - before : 15));
  });
  if (moment !== null && "seconds" in moment) plan = setTimeout(kill, 1000 * moment.seconds);
  const tooLong = setTimeout(kill, longestLifeMs);
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  clearTimeout(tooLong);
  clearTimeout(plan);
  await gone(pidsIn(output));
  assert.ok((wasKilled && plan !== undefined) || code === 0, `it ended with ${code} of its own:\n${output}\n${errors}`);
  return {
    output,
    wasKilled: code !== 0,
    leftovers: readdirSync(folder).filter((name) => name.startsWith(".")).length,
  };
}

function pidsIn(output: string): number[] {
  return [...output.matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid));
}

/** Waits until no process of the last life can write any more. */
async function gone(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    for (let isAlive = true; isAlive; ) {
      try {
        process.kill(pid, 0);
        await new Promise((resolve) => setTimeout(resolve, 5));
      } catch {
        isAlive = false;
      }
    }
  }
}

function resultOf(output: string): string {
  return [...output.matchAll(/RESULT .*/g)]
    .map(([line]) => line)
    .sort()
    .join("\n");
}

/** Kills and starts again until `count` kills have been made and the last run is done. */
async function torment(variant: Variant, count: number, random: () => number): Promise<string> {
  const quiet = mkdtempSync(join(root, "quiet-"));
  const expected = resultOf((await live(quiet, variant.env, null)).output);
  assert.match(expected, /^RESULT 0 \d+ [0-9a-f]{64}/);
  let done = 0;
  let runs = 0;
  let inSave = 0;
  const starts = new Set<string>();
  while (done < count) {
    const folder = mkdtempSync(join(root, "run-"));
    for (;;) {
      const moment = done < count ? randomMoment(random) : null;
      const { output, wasKilled, leftovers } = await live(folder, variant.env, moment);
      starts.add(/starts at step (\d+)/.exec(output)?.[1] ?? "none");
      if (wasKilled) {
        done++;
        if (leftovers > 0) inSave++;
        continue;
      }
      assert.equal(resultOf(output), expected, "the result is another one");
      assert.deepEqual(readdirSync(folder), [variant.env.TEST_FILE ?? "last.ckpt"], "something is left");
      runs++;
      break;
    }
    rmSync(folder, { recursive: true });
  }
  return `${done} kills, ${inSave} of them while a file was written; ${runs} runs ended like the undisturbed one; started at ${starts.size} different steps`;
}

describe("a run", { concurrency: 2 }, () => {
  variants.forEach((variant, index) => {
    const title = `${variant.name}: killed at random moments, a run ends as if it had not been`;
    if (!filter.every((word) => title.includes(word))) return;
    it(title, async (t) => {
      t.diagnostic(await torment(variant, Math.ceil(kills * variant.share), randomFrom(seed * 1000 + index)));
    });
  });
});
