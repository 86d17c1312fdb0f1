// The generator of operator signatures, on small schemas.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const scripts = new URL("../../scripts/", import.meta.url);

interface Schema {
  name: string;
  overload: string;
  args: { type: string; name: string; default: string | undefined; keywordOnly: boolean; written: boolean }[];
  returns: { type: string; written: boolean }[];
}
const { camelCase, parseSchema } = (await import(new URL("schema.mjs", scripts).href)) as {
  camelCase(name: string): string;
  parseSchema(line: string): Schema;
};
const { generate } = (await import(new URL("signatures.mjs", scripts).href)) as {
  generate(versions: { version: string; schemas: Schema[] }[], python: Record<string, string[]>): string;
};

const python = { functions: ["add", "sum"], methods: ["add"], functional: [] };

function generated(...versions: [string, ...string[]][]): string {
  return generate(
    versions.map(([version, ...lines]) => ({ version, schemas: lines.map(parseSchema) })),
    python,
  );
}

function contains(text: string, ...lines: string[]): void {
  for (const line of lines) assert.ok(text.includes(line), `${line}\n-- is not in --\n${text}`);
}

test("a schema is parsed into names, types, defaults and what is written", () => {
  const schema = parseSchema("aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)");
  assert.equal(schema.name, "add_");
  assert.equal(schema.overload, "Tensor");
  assert.deepEqual(
    schema.args.map(({ type, name, written, keywordOnly }) => [type, name, written, keywordOnly]),
    [
      ["Tensor", "self", true, false],
      ["Tensor", "other", false, false],
      ["Scalar", "alpha", false, true],
    ],
  );
  assert.equal(schema.args[2]?.default, "1");
  assert.deepEqual(schema.returns, [{ type: "Tensor", written: true }]);
});

test("brackets, commas and quotes in defaults do not split arguments", () => {
  const { args } = parseSchema('aten::f(int[2] dim=[-2, -1], str s="a,(\\"b", Tensor(a -> *) x=None) -> ()');
  assert.deepEqual(
    args.map((a) => [a.type, a.name, a.default]),
    [
      ["int[2]", "dim", "[-2, -1]"],
      ["str", "s", '"a,(\\"b"'],
      ["Tensor", "x", "None"],
    ],
  );
});

test("named results and lists of results are parsed", () => {
  const { returns } = parseSchema("aten::max.dim(Tensor self, int dim) -> (Tensor values, Tensor[] indices)");
  assert.deepEqual(
    returns.map((r) => r.type),
    ["Tensor", "Tensor[]"],
  );
  assert.throws(() => parseSchema("add(Tensor self) -> Tensor"), /Not an ATen schema/);
});

test("names become camel case and keep underscores at the ends", () => {
  assert.deepEqual(["log_softmax", "add_", "conv2d", "atleast_1d", "numpy_T", "_foo_bar_"].map(camelCase), [
    "logSoftmax",
    "add_",
    "conv2d",
    "atleast1d",
    "numpyT",
    "_fooBar_",
  ]);
});

test("every place from which arguments may be named has a signature", () => {
  const text = generated([
    "1.13",
    "aten::sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
  ]);
  contains(
    text,
    "sum(dim: number | readonly number[] | null, keepdim?: boolean, options?: { dtype?: Dtype | null }): Tensor;",
    "sum(dim: number | readonly number[] | null, options: { keepdim?: boolean; dtype?: Dtype | null }): Tensor;",
    "sum(options: { dim: number | readonly number[] | null; keepdim?: boolean; dtype?: Dtype | null }): Tensor;",
    "export const sum: {",
    "https://pytorch.org/docs/stable/generated/torch.sum.html",
  );
});

test("in-place methods return the tensor itself", () => {
  const text = generated(["1.13", "aten::neg_(Tensor(a!) self) -> Tensor(a!)"]);
  contains(text, "  neg_(): this;", 'export const neg_: (self: Tensor) => Tensor = op("neg_");');
});

test("an out overload becomes options of the one it belongs to, and only of the function", () => {
  const text = generated([
    "1.13",
    "aten::max.dim(Tensor self, int dim) -> (Tensor values, Tensor indices)",
    "aten::max.dim_max(Tensor self, int dim, *, Tensor(a!) max, Tensor(b!) max_values) -> (Tensor(a!) values, Tensor(b!) indices)",
  ]);
  contains(
    text,
    "(self: Tensor, dim: number, options?: { max?: Tensor; maxValues?: Tensor }): [Tensor, Tensor];",
    "  max(dim: number): [Tensor, Tensor];",
  );
});

test("factories take sizes one by one, and requiresGrad", () => {
  const text = generated([
    "1.13",
    "aten::ones(int[] size, *, ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
  ]);
  contains(text, "(...size: number[]): Tensor;", "requiresGrad?: boolean }");
});

test("elementwise operators take a number for `other` where ATen has no overload for it", () => {
  contains(
    generated(["1.13", "aten::maximum(Tensor self, Tensor other) -> Tensor"]),
    "  maximum(other: Tensor | Scalar): Tensor;",
  );
  contains(
    generated([
      "1.13",
      "aten::eq.Scalar(Tensor self, Scalar other) -> Tensor",
      "aten::eq.Tensor(Tensor self, Tensor other) -> Tensor",
    ]),
    "  eq(other: Scalar): Tensor;",
    "  eq(other: Tensor): Tensor;",
  );
});

test("reserved words are exported under their own name", () => {
  const text = generated(["1.13", "aten::var(Tensor self, bool unbiased=True) -> Tensor"]);
  contains(text, "\nconst var_: {", "export { var_ as var };", "  var(unbiased?: boolean): Tensor;");
});

test("private operators, named dimensions and derivative kernels are left out", () => {
  const text = generated([
    "1.13",
    "aten::_foo(Tensor self) -> Tensor",
    "aten::tanh_backward(Tensor grad_output, Tensor output) -> Tensor",
    "aten::any.dimname(Tensor self, str dim) -> Tensor",
    "aten::abs(Tensor self) -> Tensor",
  ]);
  assert.equal(text.match(/^export const /gm)?.length, 1);
  assert.ok(!text.includes("dimname"));
});

test("newer engines widen a signature; what only they have is said so", () => {
  const text = generated(
    ["1.13", "aten::sum(Tensor self) -> Tensor", "aten::old(Tensor self) -> Tensor"],
    [
      "2.6",
      "aten::sum(Tensor self, *, ScalarType? dtype=None) -> Tensor",
      "aten::rms_norm(Tensor input, SymInt[] normalized_shape) -> Tensor",
    ],
  );
  contains(
    text,
    "  sum(options?: { dtype?: Dtype | null }): Tensor;",
    "Needs a LibTorch newer than 1.13; 2.6 has it.",
    "LibTorch 2.6 no longer has it.",
  );
  assert.ok(!text.includes("  sum(): Tensor;"));
});

test("an unknown type is an error, not a wrong signature", () => {
  assert.throws(
    () => generated(["1.13", "aten::f(Tensor self, Banana x) -> Tensor"]),
    /No TypeScript type for the ATen type Banana/,
  );
});

test("the committed file is what the committed schemas give, and those are the engine's", () => {
  const { status, stderr } = spawnSync(
    process.execPath,
    [fileURLToPath(new URL("generate-ops.mjs", scripts)), "--check"],
    { encoding: "utf8" },
  );
  assert.equal(status, 0, stderr);
});
