// The names that a checkpoint may import, with their meaning here. Nothing else can be named, let alone called.
import { type Dtype, dtypes, itemSize } from "../dtype.js";
import { type CallContext, type Meaning, PyDict, PyGlobal, PySet, PyStorage, PyTensor } from "./pickle-graph.js";
import { Tuple } from "./python-types.js";

const globals = new Map<string, PyGlobal>();

/** internal: the meaning of an importable name, or undefined. */
export function findGlobal(module: string, name: string): PyGlobal | undefined {
  return globals.get(`${module}.${name}`);
}

function define(name: string, meaning: Meaning): void {
  globals.set(name, new PyGlobal(name, meaning));
}

/** Pickles of protocol 2 use the module names of Python 2. */
function defineBuiltin(name: string, call: NonNullable<Meaning["call"]>): void {
  define(`builtins.${name}`, { call });
  define(`__builtin__.${name}`, { call });
}

const storages: Record<string, Dtype> = {
  FloatStorage: "float32",
  DoubleStorage: "float64",
  HalfStorage: "float16",
  BFloat16Storage: "bfloat16",
  LongStorage: "int64",
  IntStorage: "int32",
  ShortStorage: "int16",
  CharStorage: "int8",
  ByteStorage: "uint8",
  BoolStorage: "bool",
  ComplexFloatStorage: "complex64",
  ComplexDoubleStorage: "complex128",
};

/** internal: the storage class that PyTorch pickles for an element type. */
export function storageClass(dtype: Dtype): string {
  for (const name in storages) if (storages[name] === dtype) return name;
  throw new Error(`internal: no storage class for ${dtype}`);
}

for (const name in storages) define(`torch.${name}`, { storage: storages[name] });
define("torch.storage.UntypedStorage", { storage: "untyped" });
define("torch.UntypedStorage", { storage: "untyped" });
// As values they become the strings that are used here.
for (const dtype of dtypes) define(`torch.${dtype}`, { dtype, value: dtype });

define("torch.Tensor", { tensorClass: true });
define("torch.nn.parameter.Parameter", { tensorClass: true });

define("collections.OrderedDict", {
  call(args, context) {
    const dict = new PyDict();
    if (args.length === 0) return dict;
    const pairs = args[0];
    if (args.length > 1 || !Array.isArray(pairs)) throw context.bad("takes nothing or a list of pairs");
    context.charge(pairs.length);
    for (const pair of pairs) {
      if (!Array.isArray(pair) || pair.length !== 2) throw context.bad("takes nothing or a list of pairs");
      dict.items.push(pair[0], pair[1]);
    }
    return dict;
  },
});

define("collections.Counter", {
  call(args, context) {
    const [counts] = args;
    if (args.length === 0) return new PyDict();
    if (args.length > 1 || !(counts instanceof PyDict)) throw context.bad("takes nothing or a dict");
    return counts;
  },
});

function makeSet(args: readonly unknown[], context: CallContext): PySet {
  const set = new PySet();
  if (args.length === 0) return set;
  if (args.length > 1 || !Array.isArray(args[0])) throw context.bad("takes nothing or a list");
  context.charge(args[0].length);
  set.items = [...args[0]];
  return set;
}
defineBuiltin("set", makeSet);
defineBuiltin("frozenset", makeSet);

// How protocol 2 spells bytes: text whose characters stand for one byte each.
function bytesOf(args: readonly unknown[], context: CallContext): Uint8Array {
  const [text, encoding] = args;
  if (args.length !== 2 || typeof text !== "string" || encoding !== "latin1")
    throw context.bad('takes text and "latin1"');
  context.charge(text.length);
  const bytes = Buffer.from(text, "latin1");
  if (bytes.toString("latin1") !== text) throw context.bad("got text that is not latin1");
  return new Uint8Array(bytes);
}
define("_codecs.encode", { call: bytesOf });
defineBuiltin("bytes", (args, context) => {
  if (args.length > 0) throw context.bad("takes nothing");
  return new Uint8Array();
});
defineBuiltin("bytearray", (args, context) => {
  if (args.length === 0) return new Uint8Array();
  if (args.length === 1 && args[0] instanceof Uint8Array) return args[0];
  return bytesOf(args, context);
});

define("torch.Size", {
  call(args, context) {
    if (args.length !== 1) throw context.bad("takes a tuple");
    return sizesOf(args[0], context);
  },
});
define("torch.device", {
  call(args, context) {
    const [type, index] = args;
    if (typeof type !== "string" || args.length > 2 || (args.length === 2 && !isCount(index)))
      throw context.bad("takes a name and a number");
    return args.length === 2 ? `${type}:${String(index)}` : type;
  },
});

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

// Tuples do not change once they are made, so they can be kept without a copy.
function sizesOf(value: unknown, context: CallContext): Tuple<number> {
  if (!(value instanceof Tuple) || value.length > 64 || !value.every(isCount))
    throw context.bad("got a shape or strides that no tensor has");
  return value as Tuple<number>;
}

function rebuildTensor(args: readonly unknown[], context: CallContext, dtype: Dtype | null): PyTensor {
  const [storage, offset, size, stride, requiresGrad] = args;
  if (!(storage instanceof PyStorage)) throw context.bad("got no storage");
  if (!isCount(offset)) throw context.bad("got an offset that no tensor has");
  if (typeof requiresGrad !== "boolean") throw context.bad("got a gradient flag that is no boolean");
  if (dtype === null && storage.dtype === "untyped") throw context.bad("got a storage without an element type");
  if (dtype !== null && storage.dtype !== "untyped" && storage.dtype !== dtype)
    throw context.bad("got two element types");
  const shape = sizesOf(size, context);
  const strides = sizesOf(stride, context);
  if (shape.length !== strides.length) throw context.bad("got a shape and strides of different lengths");
  // The shortest description that PyTorch writes is longer than this.
  context.charge(16);
  return context.addTensor(
    new PyTensor(storage, dtype ?? (storage.dtype as Dtype), offset, shape, strides, requiresGrad),
  );
}

// The mathematical views that a tensor is saved with: {"conj": True, "neg": True}.
function setBits(tensor: PyTensor, metadata: unknown, context: CallContext): PyTensor {
  if (metadata === undefined || metadata === null) return tensor;
  if (!(metadata instanceof PyDict)) throw context.bad("got metadata that is no dict");
  for (let i = 0; i < metadata.items.length; i += 2) {
    const [name, value] = [metadata.items[i], metadata.items[i + 1]];
    if (typeof value !== "boolean") throw context.bad("got metadata that is not understood");
    if (name === "conj") tensor.isConj = value;
    else if (name === "neg") tensor.isNeg = value;
    else throw context.bad("got metadata that is not understood");
  }
  if (tensor.isConj && !tensor.dtype.startsWith("complex"))
    throw context.bad("got a conjugate of numbers that are not complex");
  return tensor;
}

define("torch._utils._rebuild_tensor", {
  call(args, context) {
    if (args.length !== 4) throw context.bad("takes 4 arguments");
    return rebuildTensor([...args, false], context, null);
  },
});
define("torch._utils._rebuild_tensor_v2", {
  call(args, context) {
    if (args.length !== 6 && args.length !== 7) throw context.bad("takes 6 or 7 arguments");
    return setBits(rebuildTensor(args, context, null), args[6], context);
  },
});
define("torch._utils._rebuild_tensor_v3", {
  call(args, context) {
    if (args.length !== 7 && args.length !== 8) throw context.bad("takes 7 or 8 arguments");
    const dtype = args[6] instanceof PyGlobal ? args[6].meaning.dtype : undefined;
    if (dtype === undefined) throw context.bad("got an element type that is not supported");
    return setBits(rebuildTensor(args, context, dtype), args[7], context);
  },
});

function rebuildParameter(args: readonly unknown[], context: CallContext): PyTensor {
  const [data, requiresGrad] = args;
  if (!(data instanceof PyTensor) || typeof requiresGrad !== "boolean")
    throw context.bad("takes a tensor and a gradient flag");
  const parameter = new PyTensor(data.storage, data.dtype, data.offset, data.shape, data.strides, requiresGrad);
  parameter.isParameter = true;
  parameter.isConj = data.isConj;
  parameter.isNeg = data.isNeg;
  return context.addTensor(parameter);
}
define("torch._utils._rebuild_parameter", {
  call(args, context) {
    if (args.length !== 3) throw context.bad("takes 3 arguments");
    return rebuildParameter(args, context);
  },
});
// Tensors and parameters that carry attributes of the user; the attributes are dropped.
define("torch._utils._rebuild_parameter_with_state", {
  call(args, context) {
    if (args.length !== 4) throw context.bad("takes 4 arguments");
    return rebuildParameter(args, context);
  },
});
define("torch._tensor._rebuild_from_type_v2", {
  call(args, context) {
    const [rebuild, type, inner] = args;
    const call =
      rebuild instanceof PyGlobal && rebuild.name.startsWith("torch._utils._rebuild_")
        ? rebuild.meaning.call
        : undefined;
    const plain = type instanceof PyGlobal && type.meaning.tensorClass === true;
    if (args.length !== 4 || !call || !plain || !(inner instanceof Tuple))
      throw context.bad("rebuilds only plain tensors and parameters");
    return call(inner, context);
  },
});

/** internal: elements of a view fit into its storage, computed without overflow. Returns what is wrong, or null. */
export function viewFault(tensor: PyTensor, storageBytes: number): string | null {
  const available = Math.floor(storageBytes / itemSize(tensor.dtype));
  let numel = 1;
  let last = tensor.offset;
  for (let i = 0; i < tensor.shape.length; i++) numel *= tensor.shape[i];
  if (!Number.isSafeInteger(numel * itemSize(tensor.dtype))) return "more elements than memory can have";
  // With a zero among the sizes the others do not matter to the product, but LibTorch multiplies them all the same.
  const sizes = tensor.shape.reduce((product, size) => product * Math.max(size, 1), 1);
  if (!Number.isSafeInteger(sizes * itemSize(tensor.dtype))) return "a shape whose product overflows";
  if (numel === 0) return tensor.offset <= available ? null : "an offset behind the end of its storage";
  for (let i = 0; i < tensor.shape.length; i++) {
    last += (tensor.shape[i] - 1) * tensor.strides[i];
    if (!Number.isSafeInteger(last)) return "strides that overflow";
  }
  return last < available ? null : "elements behind the end of its storage";
}
