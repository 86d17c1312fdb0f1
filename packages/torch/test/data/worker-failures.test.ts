// What goes wrong in loader workers is an error in the training loop that names the worker and the sample, soon, and never a hang.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import * as torch from "@fabric-ts/torch";
import { ConfigurationError, DataLoaderError, data } from "@fabric-ts/torch";
import { Broken, Counting, Mixed, notDataset, Unmakable } from "./support/datasets.js";

const module = new URL("./support/datasets.js", import.meta.url);

/** What a loop over the broken dataset throws, with `for` and with `for await`, and how many batches came before. */
async function failures(
  how: string,
  options: data.DataLoaderOptions<unknown, unknown> = {},
): Promise<DataLoaderError[]> {
  const dataset = data.workerDataset(module, Broken, how);
  const loader = () => new data.DataLoader<unknown, unknown>(dataset, { batchSize: 2, numWorkers: 2, ...options });
  const errors: DataLoaderError[] = [];
  let given = 0;
  try {
    for (const _ of loader()) given++;
  } catch (error) {
    errors.push(error as DataLoaderError);
  }
  try {
    for await (const _ of loader()) given++;
  } catch (error) {
    errors.push(error as DataLoaderError);
  }
  assert.equal(given, 4, "the two batches before the broken one, twice");
  assert.equal(errors.length, 2);
  for (const error of errors) assert.ok(error instanceof DataLoaderError, String(error));
  return errors;
}

test("an error of the dataset names worker and sample and carries the worker's stack", async () => {
  for (const error of await failures("throw")) {
    assert.match(error.message, /^Worker 0 of the DataLoader could not load sample 5: there is nothing here$/);
    assert.deepEqual([error.workerId, error.index, error.code], [0, 5, "ERR_DATA_LOADER"]);
    assert.ok(error.cause instanceof RangeError);
    assert.match(error.cause.stack as string, /RangeError: there is nothing here[\s\S]*Broken\.get .*datasets/);
  }
});

test("a promise of a sample that is rejected is the same, with code and causes", async () => {
  for (const error of await failures("reject")) {
    assert.match(error.message, /sample 5: not found/);
    const cause = error.cause as Error & { code: string };
    assert.deepEqual(
      [cause.code, (cause.cause as Error).name, (cause.cause as Error).message],
      ["ENOENT", "TypeError", "why"],
    );
  }
});

test("errors of this package come as their classes", async () => {
  for (const error of await failures("own")) {
    assert.ok(error.cause instanceof ConfigurationError);
    assert.equal(error.cause.code, "ERR_OWN");
  }
});

test("what was thrown need not be an error", async () => {
  for (const error of await failures("string")) assert.match(error.message, /sample 5: Thrown: only a text/);
});

test("samples that make no batch are named", async () => {
  for (const error of await failures("text")) {
    assert.match(error.message, /Worker 0 .*could not make a batch of samples 4, 5: The samples of a batch differ/);
    assert.equal(error.index, null);
  }
});

test("a batch that holds an instance of a class is refused, because it would lose its methods", async () => {
  for (const error of await failures("class", { collateFn: (samples) => samples })) {
    assert.match(error.message, /a Mixed at `\[1\]\.inner` cannot go from one thread to another/);
  }
});

test("a worker that ends is an error that names the sample", async () => {
  for (const error of await failures("exit")) {
    assert.match(
      error.message,
      /^Worker 0 .* died, while it was loading sample 5: its thread ended with exit code 3\.$/,
    );
    assert.deepEqual([error.workerId, error.index], [0, 5]);
  }
});

test("an error that the dataset leaves uncaught is told too", async () => {
  for (const error of await failures("later")) {
    assert.match(error.message, /^Worker 0 .* failed, while it was loading sample 5: out of nowhere$/);
    assert.match((error.cause as Error).stack as string, /datasets/);
  }
});

for (const how of ["loop", "wait"]) {
  test(`a worker that hangs (${how}) is an error after timeoutMs`, async () => {
    for (const error of await failures(how, { timeoutMs: 300 })) {
      assert.match(
        error.message,
        /^Worker 0 .* gave no batch within 300 ms, while it was loading sample 5\.\n.*`timeoutMs`/,
      );
      assert.equal(error.code, "ERR_DATA_LOADER_TIMEOUT");
    }
  });
}

test("kept workers go on after an error of the dataset, and are replaced after one that died", () => {
  for (const how of ["throw", "exit"]) {
    const dataset = data.workerDataset(module, Broken, how);
    using loader = new data.DataLoader<unknown, torch.Tensor>(dataset, { numWorkers: 2, persistentWorkers: true });
    for (let pass = 0; pass < 2; pass++) {
      const seen: number[] = [];
      assert.throws(() => {
        for (const batch of loader) seen.push(batch.item());
      }, DataLoaderError);
      assert.deepEqual(seen, [0, 1, 2, 3, 4]);
    }
  }
});

test("an error of a sampler comes where its batch would, not ahead of it", () => {
  function* indices(): Generator<number> {
    yield 0;
    yield 1;
    throw new Error("no more");
  }
  const loader = new data.DataLoader([7, 8], { sampler: { [Symbol.iterator]: indices }, numWorkers: 2 });
  const seen: number[] = [];
  assert.throws(() => {
    for (const batch of loader) seen.push(batch.item());
  }, /^Error: no more$/);
  assert.deepEqual(seen, [7, 8]);
});

test("a worker that cannot make its dataset says why", () => {
  const dataset = data.workerDataset(module, Unmakable, process.pid);
  process.env.FABRIC_TEST_WORKER = "1";
  try {
    assert.throws(() => [...new data.DataLoader(dataset, { numWorkers: 1 })], {
      name: "DataLoaderError",
      message: /^Worker 0 of the DataLoader could not start: no such folder$/,
    });
  } finally {
    delete process.env.FABRIC_TEST_WORKER;
  }
});

test("a class that the module does not export is missed by name, with what there is", () => {
  function hidden(): number[] {
    return [1];
  }
  const dataset = data.workerDataset(module, hidden);
  assert.throws(
    () => [...new data.DataLoader(dataset, { numWorkers: 1 })],
    /datasets\.js does not export `hidden`, which a loader worker needs: it exports .*Mixed.*\nWrite `export` before function hidden there\./,
  );
});

test("a dataset that cannot be sent is refused with the line to type", () => {
  class OwnImages extends data.Dataset<number> {
    length = 1;
    get(): number {
      return 1;
    }
  }
  const refused = (dataset: data.DatasetLike<unknown>, message: RegExp) =>
    assert.throws(() => new data.DataLoader(dataset, { numWorkers: 2 }), { name: "ConfigurationError", message });
  refused(
    new OwnImages(),
    /`numWorkers` is 2, but this dataset \(an OwnImages\) cannot be sent.*\n.*Export the class OwnImages from a file of its own and type `data\.workerDataset\(new URL\("\.\/own-images\.js", import\.meta\.url\), OwnImages, \.\.\.\)`/,
  );
  refused(
    { length: 1, get: () => 1 },
    /type `data\.workerDataset\(new URL\("\.\/dataset\.js", .*makeDataset, \.\.\.\)`/,
  );
  refused(new data.Subset(new OwnImages(), [0]), /a dataset in this Subset \(an OwnImages\)/);
  refused(new data.StackDataset({ a: [1], b: new OwnImages() }), /a dataset in this StackDataset \(an OwnImages\)/);
  refused(new (class Named extends data.TensorDataset<[torch.Tensor]> {})(torch.ones([1])), /a Named/);
  assert.throws(() => new data.DataLoader([new OwnImages()], { numWorkers: 1 }), {
    name: "TypeError",
    message: /an OwnImages at `dataset\[0\]` cannot go from one thread to another/,
  });
});

test("functions that workers have to call are refused with the line to type", () => {
  const initWorker = (): void => {};
  const message =
    /`workerInitFn` \(the function `initWorker`\) has to run in the worker threads.*\n.*type `workerInitFn: data\.workerFunction\(new URL\("\.\/workers\.js", import\.meta\.url\), initWorker\)`/;
  assert.throws(() => new data.DataLoader([1], { numWorkers: 1, workerInitFn: initWorker }), {
    name: "ConfigurationError",
    message,
  });
  const loader = new data.DataLoader([1], { numWorkers: 1 });
  loader.workerInitFn = initWorker;
  assert.throws(() => [...loader], { message });
});

test("workerDataset and workerFunction refuse what workers would not find", () => {
  const refused = (call: () => unknown, message: RegExp, name = "TypeError") => assert.throws(call, { name, message });
  refused(
    () => data.workerDataset("./datasets.js", Mixed, 1),
    /Type `new URL\("\.\/datasets\.js", import\.meta\.url\)`/,
  );
  refused(() => data.workerDataset("some-package", Mixed, 1), /import\.meta\.resolve/);
  refused(() => data.workerDataset(new URL("https://example.org/a.js"), Mixed, 1), /the URL of a file/);
  refused(
    () => data.workerDataset(new URL("./nowhere.js", import.meta.url), Mixed, 1),
    /nowhere\.js: there is no such file/,
    "ConfigurationError",
  );
  refused(
    () => data.workerDataset(import.meta.url, Mixed, 1),
    /it is the script that runs, and each worker would run it again\.\nMove the dataset to a file of its own/,
    "ConfigurationError",
  );
  refused(() => data.workerDataset(module, {} as never), /a class or function that the module exports/);
  refused(
    () =>
      data.workerFunction(
        module,
        (
          () => () =>
            1
        )(),
      ),
    /has none of its own/,
    "ConfigurationError",
  );
  refused(() => data.workerDataset(module, Counting, (() => 1) as never), /argument 0 of Counting.* cannot go from/);
  refused(() => data.workerDataset(module, notDataset), /Expected `dataset` to be a Dataset .*but got an object/);
});

test("a loader inside of a worker has no workers of its own", () => {
  // Sample 0 of this dataset is what making such a loader says.
  const folder = mkdtempSync(join(tmpdir(), "fabric-nested-"));
  try {
    const path = join(folder, "nested.mjs");
    writeFileSync(
      path,
      `import { data } from ${JSON.stringify(import.meta.resolve("@fabric-ts/torch"))};
       export function nested() { return { length: 1, get() { try { new data.DataLoader([1], { numWorkers: 1 }); } catch (error) { return error.message; } } }; }`,
    );
    function nested(): data.IndexedDataset<string> {
      return { length: 1, get: () => "" };
    }
    const [message] = [...new data.DataLoader(data.workerDataset(pathToFileURL(path), nested), { numWorkers: 1 })];
    assert.match(String(message), /cannot have workers of its own/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Runs a program that uses the compiled datasets, from a file or with Node's flags; resolves with its output and exit code. */
async function run(text: string, isInline = false): Promise<{ code: number | null; output: string }> {
  const folder = mkdtempSync(join(tmpdir(), "fabric-loader-"));
  try {
    const path = join(folder, "program.mjs");
    // What the name of the package means to programs, and to the compiled datasets in them.
    const torch = new URL("../../bundle/index.js", import.meta.url).href;
    const program = `import { data } from ${JSON.stringify(torch)};
       import { Broken, Mixed } from ${JSON.stringify(module.href)};
       const module = ${JSON.stringify(module.href)};\n${text}`;
    writeFileSync(path, program);
    const args = isInline ? ["--input-type=module", "-e", program] : [path];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    clearTimeout(timer);
    return { code, output };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("workers that are idle, loading or hanging do not keep the process from ending", async () => {
  const { code, output } = await run(`
    const loader = (how, options) => new data.DataLoader(data.workerDataset(module, Broken, how), { numWorkers: 2, ...options });
    const kept = loader("", { persistentWorkers: true });
    for (const _ of kept);
    const left = loader("", {})[Symbol.iterator]();
    left.next();
    for await (const _ of loader("", {})) break;
    let seen = 0;
    for (const _ of loader("loop", {})) if (++seen === 5) break;
    console.log("the end");
  `);
  assert.deepEqual([code, output], [0, "the end\n"]);
});

test("an error of a worker that nobody catches ends the process and shows where it came from", async () => {
  const { code, output } = await run(`
    for (const _ of new data.DataLoader(data.workerDataset(module, Broken, "throw"), { numWorkers: 2 }));
  `);
  assert.equal(code, 1);
  assert.match(
    output,
    /DataLoaderError: Worker 1 of the DataLoader could not load sample 5[\s\S]*RangeError[\s\S]*Broken\.get/,
  );
});

test("what a worker prints appears at once, though the main thread never turns its event loop", async () => {
  const { code, output } = await run(`
    import { writeSync } from "node:fs";
    import { pathToFileURL } from "node:url";
    import { writeFileSync } from "node:fs";
    const url = new URL("./printing.mjs", import.meta.url);
    writeFileSync(url, 'export function printing() { return { length: 2, get(i) { console.log("loads", i); return i; } }; }');
    const { printing } = await import(url.href);
    for (const _ of new data.DataLoader(data.workerDataset(url, printing), { batchSize: 2, numWorkers: 1 }));
    writeSync(1, "done\\n");
  `);
  assert.deepEqual([code, output], [0, "loads 0\nloads 1\ndone\n"]);
});

test("a program given as text has workers too", async () => {
  const text = "console.log([...new data.DataLoader(data.workerDataset(module, Mixed, 3), { numWorkers: 1 })].length);";
  assert.deepEqual(await run(text, true), { code: 0, output: "3\n" });
});
