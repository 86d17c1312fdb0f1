// What is said about wrong command lines; nothing is started for them.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { cuda } from "@fabric-ts/torch";
import { fabricCommand } from "../launchers/job.js";

function fabric(...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [fabricCommand, ...args], { encoding: "utf8" });
  return { code: status, stdout, stderr };
}

const script = fabricCommand;
const head = "Usage: fabric run [OPTIONS] SCRIPT [SCRIPT_ARGS]...\nTry 'fabric run --help' for help.\n\nError: ";

describe("`fabric run` with mistakes ends with 2 and one sentence", () => {
  for (const [args, message] of [
    [[], "Missing argument 'SCRIPT'."],
    [["nowhere.js"], "Invalid value for 'SCRIPT': Path 'nowhere.js' does not exist."],
    [["-m", "nobody"], "Invalid value for 'SCRIPT': no package or program 'nobody' is installed here."],
    [
      ["--accelerator", "gpus", script],
      "Invalid value for '--accelerator': 'gpus' is not one of 'cpu', 'gpu', 'cuda', 'mps', 'tpu', 'auto'. Did you mean 'gpu'?",
    ],
    [
      ["--strategy=ddp_spawn", script],
      "Invalid value for '--strategy': 'ddp_spawn' is not one of 'ddp', 'ddp_find_unused_parameters_true', 'dp', 'fsdp', 'deepspeed', 'deepspeed_stage_1', 'deepspeed_stage_2', 'deepspeed_stage_3'.",
    ],
    [
      ["--precision", "8", script],
      "Invalid value for '--precision': '8' is not one of 'transformer-engine', 'transformer-engine-float16', '16-true', '16-mixed', 'bf16-true', 'bf16-mixed', '32-true', '64-true', '64', '32', '16', 'bf16'.",
    ],
    [["--devices"], "Option '--devices' requires an argument."],
    [
      ["--accelerator", "cpu", "--devices", "two", script],
      "Invalid value for '--devices': 'two'. `devices` selected with the CPU accelerator should be an int > 0, got \"two\".",
    ],
    [["--num-nodes", "x", script], "Invalid value for '--num-nodes' / '--num_nodes': 'x' is not a valid integer."],
    [["--num_nodes", "0", script], "Invalid value for '--num-nodes' / '--num_nodes': 0 is not in the range x>=1."],
    [["--node-rank", "1", script], "Invalid value for '--node-rank' / '--node_rank': 1; with one machine it is 0."],
    [
      ["--num-nodes=2", "--node_rank=2", script],
      "Invalid value for '--node-rank' / '--node_rank': 2; with --num-nodes 2 it goes from 0 to 1.",
    ],
    [
      ["--main_port", "70000", script],
      "Invalid value for '--main-port' / '--main_port': 70000 is not in the range 1<=x<=65535.",
    ],
    [["--max-restarts", "-1", script], "Invalid value for '--max-restarts': -1 is not in the range x>=0."],
    [["--devics", "2", script], "No such option: --devics. Did you mean --devices?"],
    [["--lr", "0.1", script], "No such option: --lr."],
    [
      ["--tee", script],
      "Option '--tee' needs '--log-dir': it shows what is written there. For the ranks' names alone take '--prefix'.",
    ],
  ] as const) {
    it(`fabric run ${args.join(" ").replace(script, "SCRIPT")}`, () => {
      const { code, stdout, stderr } = fabric("run", ...args);
      assert.deepEqual([code, stdout, stderr], [2, "", `${head}${message}\n`]);
    });
  }

  it("a Python script is told apart", () => {
    const folder = mkdtempSync(join(tmpdir(), "fabric-usage-test-"));
    try {
      const path = join(folder, "train.py");
      writeFileSync(path, "print(1)\n");
      const { code, stderr } = fabric("run", path);
      assert.deepEqual([code, stderr.includes("is a Python script")], [2, true]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("what cannot be run here ends with 1", () => {
  const noGpu = { skip: cuda.deviceCount() > 0 && "there are CUDA devices" };
  for (const [args, message, options] of [
    [["--accelerator", "tpu"], /^Error: Launching processes for TPU through the CLI is not supported\.\n/, {}],
    [["--accelerator", "gpu", "--devices", "auto"], /^Error: No supported gpu backend found!\n/, noGpu],
  ] as const) {
    it(`fabric run ${args.join(" ")} SCRIPT`, options, () => {
      const { code, stderr } = fabric("run", ...args, script);
      assert.equal(code, 1);
      assert.match(stderr, message);
    });
  }
});

it("`fabric run --help` names every option, with defaults and choices", () => {
  const { code, stdout, stderr } = fabric("run", "--help");
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^Usage: fabric run \[OPTIONS\] SCRIPT \[SCRIPT_ARGS\]\.\.\.\n/);
  const text = stdout.replace(/\s+/g, " ");
  for (const part of [
    "--accelerator <NAME> the hardware to run on: cpu, gpu, cuda, mps, tpu, auto",
    "--strategy <NAME> how several devices work together: ddp, ddp_find_unused_parameters_true, dp, fsdp,",
    "--devices <N> how many devices on each machine, or which: a number, 'auto', '-1' for all GPUs, ids such as '0,2' (default: \"1\")",
    "--num-nodes <N> number of machines (default: 1)",
    "--node-rank <K>",
    '--main-address <HOST> host name or address of machine 0 (default: "127.0.0.1")',
    "--main-port <PORT>",
    "(default: 29400)",
    "--precision <NAME> how numbers are represented: transformer-engine,",
    "--max-restarts <N>",
    "--log-dir <DIR>",
    "--tee",
    "--prefix",
    "-m, --module",
  ]) {
    assert.ok(text.includes(part), `${part}\n${stdout}`);
  }
  assert.ok(stdout.split("\n").every((line) => line.length <= 100));
});

it("`fabric` alone shows its commands, `fabric --version` the version", () => {
  const alone = fabric();
  assert.equal(alone.code, 2);
  for (const name of ["run", "consolidate", "doctor"]) assert.match(alone.stderr, new RegExp(`^  ${name} `, "m"));
  const unknown = fabric("docter");
  assert.deepEqual(
    [unknown.code, /Error: Unknown command 'docter' \(Did you mean doctor\?\)\n$/.test(unknown.stderr)],
    [2, true],
  );
  assert.match(fabric("--version").stdout, /^\d+\.\d+\.\d+\n$/);
});
