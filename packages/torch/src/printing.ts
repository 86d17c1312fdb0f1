// Tensors as text, exactly as PyTorch prints them (torch/_tensor_str.py).
import { inspect } from "node:util";
import { checkOptions, typeError } from "./check.js";
import { narrow } from "./conversion.js";
import { isFloatingDtype } from "./dtype.js";
import { native } from "./native.js";
import { pyFloat } from "./nn/python-text.js";
import { operator } from "./ops.js";
import { isQuantizedDtype } from "./target.js";
import { handleOf, Tensor, wrapHandle } from "./tensor.js";

/** How tensors are printed. */
export interface PrintOptions {
  /** Digits after the decimal point. Default: 4. */
  precision?: number | undefined;
  /** Tensors with more elements are summarized. Default: 1000. */
  threshold?: number | undefined;
  /** Elements shown at each end of a summarized dimension. Default: 3. */
  edgeitems?: number | undefined;
  /** Characters of a line. Default: 80. */
  linewidth?: number | undefined;
  /** A set of defaults, which the other options may change. */
  profile?: "default" | "short" | "full" | undefined;
  /** Scientific notation always (true), never (false), or where it is shorter (null, also when left out). */
  sciMode?: boolean | null | undefined;
}

declare module "./tensor.js" {
  interface Tensor {
    /** The tensor as PyTorch prints it. */
    toString(): string;
  }
}

const current = { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80, sciMode: null as boolean | null };

const profiles = {
  default: { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80 },
  short: { precision: 2, threshold: 1000, edgeitems: 2, linewidth: 80 },
  full: { precision: 4, threshold: Number.POSITIVE_INFINITY, edgeitems: 3, linewidth: 80 },
};

/** Changes how tensors are printed. PyTorch's `torch.set_printoptions`. */
export function setPrintOptions(options: PrintOptions): void {
  checkOptions(options, [...Object.keys(current), "profile"], "torch.setPrintOptions({ precision: 6 })");
  const { profile, sciMode = null, ...rest } = options;
  if (profile !== undefined) {
    if (!Object.hasOwn(profiles, profile)) throw typeError("profile", `"default", "short" or "full"`, profile);
    Object.assign(current, profiles[profile]);
  }
  for (const key of ["precision", "threshold", "edgeitems", "linewidth"] as const) {
    const value = rest[key];
    if (value === undefined) continue;
    if (typeof value !== "number" || !(value >= 0)) throw typeError(key, "a number of at least 0", value);
    current[key] = value;
  }
  current.sciMode = sciMode;
}

// ---- numbers ------------------------------------------------------------------------------------------------

function nonFinite(x: number): string | undefined {
  if (Number.isNaN(x)) return "nan";
  if (x === Number.POSITIVE_INFINITY) return "inf";
  return x === Number.NEGATIVE_INFINITY ? "-inf" : undefined;
}

// JavaScript rounds a tie away from zero where C and Python round to even. `longer` is the exact text of the same number
// with one digit more.
function roundTie(rounded: string, longer: string): string {
  if (!longer.endsWith("5")) return rounded;
  const shorter = longer.slice(0, -1);
  const lastDigit = Number(/\d(?=\.?$)/.exec(shorter)?.[0]);
  return lastDigit % 2 === 0 ? shorter.replace(/\.$/, "") : rounded;
}

/** internal: C's `%.<digits>f`. */
export function fixed(x: number, digits: number): string {
  const special = nonFinite(x);
  if (special !== undefined) return special;
  const sign = x < 0 || Object.is(x, -0) ? "-" : "";
  const size = Math.abs(x);
  if (size >= 1e21) return `${sign}${BigInt(size)}${digits > 0 ? `.${"0".repeat(digits)}` : ""}`;
  const rounded = size.toFixed(digits);
  const scaled = size * 2 ** (digits + 1);
  const isTie = Number.isInteger(scaled) && scaled < 2 ** 53 && digits < 100;
  return sign + (isTie ? roundTie(rounded, size.toFixed(digits + 1)) : rounded);
}

/** internal: C's `%.<digits>e`. */
export function scientific(x: number, digits: number): string {
  const special = nonFinite(x);
  if (special !== undefined) return special;
  const sign = x < 0 || Object.is(x, -0) ? "-" : "";
  const size = Math.abs(x);
  const [rounded = "", power = "+0"] = size.toExponential(digits).split("e");
  let mantissa = rounded;
  let exponent = power;
  const [exact = "", exactPower = "+0"] = size.toExponential(Math.min(100, digits + 40)).split("e");
  const cut = digits + 3; // "d." and one digit more
  if (/^0*$/.test(exact.slice(cut)) && exact[cut - 1] === "5") {
    const tied = roundTie(rounded, exact.slice(0, cut));
    if (tied !== rounded) {
      mantissa = tied;
      exponent = exactPower;
    }
  }
  return `${sign}${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

// ---- elements -----------------------------------------------------------------------------------------------

// Gives all elements one notation and one width.
class Formatter {
  readonly #floating: boolean;
  #whole = true;
  #scientific = false;
  width = 1;

  constructor(values: readonly unknown[], floating: boolean) {
    this.#floating = floating;
    if (!floating) {
      for (const value of values) this.width = Math.max(this.width, plainText(value).length);
      return;
    }
    const finite = (values as number[]).filter((x) => Number.isFinite(x) && x !== 0);
    if (finite.length === 0) return;
    this.#choose(finite);
    if (current.sciMode !== null) this.#scientific = current.sciMode;
  }

  #choose(finite: readonly number[]): void {
    let least = Number.POSITIVE_INFINITY;
    let most = 0;
    for (const x of finite) {
      const size = Math.abs(x);
      if (size < least) least = size;
      if (size > most) most = size;
      if (this.#whole && !Number.isInteger(x)) this.#whole = false;
    }
    this.#scientific = most / least > 1000 || most > 1e8 || (!this.#whole && least < 1e-4);
    for (const x of finite) {
      const length = this.#scientific
        ? scientific(x, current.precision).length
        : this.#whole
          ? fixed(x, 0).length + 1
          : fixed(x, current.precision).length;
      if (length > this.width) this.width = length;
    }
  }

  format(value: unknown): string {
    return this.#text(value).padStart(this.width);
  }

  #text(value: unknown): string {
    if (!this.#floating) return plainText(value);
    const x = value as number;
    if (this.#scientific) return scientific(x, current.precision);
    if (!this.#whole) return fixed(x, current.precision);
    return Number.isFinite(x) ? `${fixed(x, 0)}.` : fixed(x, 0);
  }
}

function plainText(value: unknown): string {
  return typeof value === "boolean" ? (value ? "True" : "False") : String(value);
}

// The elements that are shown, and how to write one of them.
interface Shown {
  shape: readonly number[];
  /** Which dimensions are shown only at their ends. */
  cut: readonly boolean[];
  text(index: number): string;
  width: number;
}

const indexSelect = operator("aten", "index_select");

function shownElements(tensor: Tensor): Shown {
  const { edgeitems, threshold } = current;
  const full = tensor.shape;
  const summarize = tensor.numel() > threshold;
  const cut = full.map((size) => summarize && size > 2 * edgeitems);
  let part = tensor;
  cut.forEach((isCut, dim) => {
    if (!isCut) return;
    const size = full[dim] as number;
    const kept = Array.from({ length: 2 * edgeitems }, (_, i) => BigInt(i < edgeitems ? i : size - 2 * edgeitems + i));
    const index = wrapHandle(native().fromBytes(BigInt64Array.from(kept), "int64", [kept.length]));
    part = indexSelect(part, dim, tensor.device === "cpu" ? index : index.to(tensor.device)) as Tensor;
  });
  const shape = full.map((size, dim) => (cut[dim] ? 2 * edgeitems : size));
  return { shape, cut, ...writer(part) };
}

function writer(part: Tensor): { text(index: number): string; width: number } {
  const data = part.toTypedArray();
  if (part.isComplex()) {
    const numbers = data as Float64Array;
    const real = new Formatter(
      Array.from({ length: numbers.length / 2 }, (_, i) => numbers[2 * i]),
      true,
    );
    const imaginary = new Formatter(
      Array.from({ length: numbers.length / 2 }, (_, i) => numbers[2 * i + 1]),
      true,
    );
    const text = (i: number): string => {
      const left = real.format(numbers[2 * i]);
      const right = `${imaginary.format(numbers[2 * i + 1])}j`.trimStart();
      return /^[+-]/.test(right) ? left + right : `${left}+${right}`;
    };
    return { text, width: real.width + imaginary.width + 1 };
  }
  const values: unknown[] =
    data instanceof BigInt64Array
      ? Array.from(data, narrow)
      : part.dtype === "bool"
        ? Array.from(data, (x) => x !== 0)
        : Array.from(data as Float64Array);
  const formatter = new Formatter(values, isFloatingDtype(part.dtype));
  return { text: (i) => formatter.format(values[i]), width: formatter.width };
}

// ---- layout -------------------------------------------------------------------------------------------------

function vectorText(shown: Shown, start: number, indent: number): string {
  const size = shown.shape[shown.shape.length - 1] as number;
  const perLine = Math.max(1, Math.floor((current.linewidth - indent) / (shown.width + 2)));
  const items = Array.from({ length: size }, (_, i) => shown.text(start + i));
  if (shown.cut[shown.cut.length - 1]) items.splice(current.edgeitems, 0, " ...");
  const lines: string[] = [];
  for (let i = 0; i < items.length; i += perLine) lines.push(items.slice(i, i + perLine).join(", "));
  return `[${lines.join(`,\n${" ".repeat(indent + 1)}`)}]`;
}

function blockText(shown: Shown, dim: number, start: number, indent: number): string {
  const left = shown.shape.length - dim;
  if (left === 0) return shown.text(0);
  if (left === 1) return vectorText(shown, start, indent);
  const size = shown.shape[dim] as number;
  const step = shown.shape.slice(dim + 1).reduce((a, b) => a * b, 1);
  const parts = Array.from({ length: size }, (_, i) => blockText(shown, dim + 1, start + i * step, indent + 1));
  if (shown.cut[dim]) parts.splice(current.edgeitems, 0, "...");
  return `[${parts.join(`,${"\n".repeat(left - 1)}${" ".repeat(indent + 1)}`)}]`;
}

function contentsText(tensor: Tensor, indent: number): string {
  return tensor.numel() === 0 ? "[]" : blockText(shownElements(tensor), 0, 0, indent);
}

function sizeText(shape: readonly number[]): string {
  return `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
}

// The tensors that make up one of a sparse layout, by the operators that give them.
const sparseLayouts = {
  sparse_coo: ["_indices", "_values"],
  sparse_csr: ["crow_indices", "col_indices", "values"],
  sparse_csc: ["ccol_indices", "row_indices", "values"],
} as const;

type SparseLayout = keyof typeof sparseLayouts;

// The layout, where it is a sparse one. Only tensors with one block of memory have a storage.
function sparseLayout(tensor: Tensor): SparseLayout | undefined {
  try {
    native().storageInfo(handleOf(tensor));
    return undefined;
  } catch {
    const layouts = Object.keys(sparseLayouts) as SparseLayout[];
    return layouts.find((layout) => {
      try {
        operator("aten", sparseLayouts[layout][0])(tensor);
        return true;
      } catch {
        return false;
      }
    });
  }
}

const schemes = [
  "per_tensor_affine",
  "per_channel_affine",
  "per_tensor_symmetric",
  "per_channel_symmetric",
  "per_channel_affine_float_qparams",
];

// How the stored whole numbers of a quantized tensor become its values.
function quantizationSuffixes(tensor: Tensor): string[] {
  const ask = (name: string): unknown => operator("aten", name)(tensor);
  const scheme = schemes[ask("qscheme") as number] ?? "unknown";
  const text = `quantization_scheme=torch.${scheme}`;
  if (scheme.startsWith("per_tensor"))
    return [text, `scale=${pyFloat(ask("q_scale") as number)}`, `zero_point=${ask("q_zero_point")}`];
  return [
    text,
    `scale=${ask("q_per_channel_scales")}`,
    `zero_point=${ask("q_per_channel_zero_points")}`,
    `axis=${ask("q_per_channel_axis")}`,
  ];
}

function addSuffixes(text: string, suffixes: readonly string[], indent: number, forceNewline: boolean): string {
  let result = text;
  let force = forceNewline;
  let last = text.length - text.lastIndexOf("\n") + 1;
  for (const suffix of suffixes) {
    if (force || last + suffix.length + 2 > current.linewidth) {
      result += `,\n${" ".repeat(indent)}${suffix}`;
      last = indent + suffix.length;
      force = false;
    } else {
      result += `, ${suffix}`;
      last += suffix.length + 2;
    }
  }
  return `${result})`;
}

function hasUsualDtype(dtype: string, usual: string): boolean {
  return (
    dtype === usual ||
    dtype === "int64" ||
    dtype === "bool" ||
    dtype === (usual === "float64" ? "complex128" : "complex64")
  );
}

function partText(name: string, part: Tensor, indent: number): string {
  const prefix = `${name}=tensor(`;
  const size = part.numel() === 0 ? `, size=${sizeText(part.shape)}` : "";
  return `${prefix}${contentsText(part, indent + prefix.length)}${size})`;
}

/** internal: the text of a tensor, as `String(tensor)` gives it. */
export function tensorText(tensor: Tensor): string {
  const prefix = "tensor(";
  const indent = prefix.length;
  const plain = wrapHandle(native().data(handleOf(tensor)));
  const { dtype, device, shape } = plain;
  const usual = native().getDefaultDtype();
  const suffixes = device === "cpu" ? [] : [`device='${device}'`];
  const dtypeText = `dtype=torch.${dtype}`;
  const sparse = device === "meta" ? undefined : sparseLayout(plain);
  let contents: string;
  if (sparse) {
    const parts = sparseLayouts[sparse].map((name) => ({ name, part: operator("aten", name)(plain) as Tensor }));
    suffixes.push(`size=${sizeText(shape)}`, `nnz=${(parts.at(-1) as { part: Tensor }).part.shape[0]}`);
    if (!hasUsualDtype(dtype, usual)) suffixes.push(dtypeText);
    suffixes.push(`layout=torch.${sparse}`);
    contents = parts
      .map(({ name, part }) => partText(name.replace(/^_/, ""), part, indent))
      .join(`,\n${" ".repeat(indent)}`);
  } else if (device === "meta") {
    suffixes.push(`size=${sizeText(shape)}`);
    if (dtype !== usual) suffixes.push(dtypeText);
    contents = "...";
  } else if (isQuantizedDtype(dtype)) {
    suffixes.push(`size=${sizeText(shape)}`, dtypeText, ...quantizationSuffixes(plain));
    contents = contentsText(plain.dequantize(), indent);
  } else if (plain.numel() === 0) {
    if (shape.length !== 1) suffixes.push(`size=${sizeText(shape)}`);
    if (dtype !== usual) suffixes.push(dtypeText);
    contents = "[]";
  } else {
    if (!hasUsualDtype(dtype, usual)) suffixes.push(dtypeText);
    contents = contentsText(plain, indent);
  }
  const { gradFn } = tensor;
  if (gradFn !== null) suffixes.push(`grad_fn=<${gradFn}>`);
  else if (tensor.requiresGrad) suffixes.push("requires_grad=True");
  return addSuffixes(prefix + contents, suffixes, indent, sparse === "sparse_coo");
}

function install(key: string | symbol, value: unknown): void {
  Object.defineProperty(Tensor.prototype, key, { value, writable: true, configurable: true });
}

install("toString", function (this: Tensor): string {
  return this.isDisposed ? "tensor(<disposed>)" : tensorText(this);
});
install(inspect.custom, function (this: Tensor): string {
  return this.toString();
});
