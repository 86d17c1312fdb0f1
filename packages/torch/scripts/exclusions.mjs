// What the generated file leaves out, each with its reason. All of it stays within reach as `torch.ops.aten.<name>`.

/** Operators without a function and without a method. */
export const excluded = [
  [/^_/, "private to ATen"],
  [/_backward(_|$)/, "derivative kernels, which autograd calls"],
  [/^(cudnn|miopen|mkldnn|mps|fbgemm)_/, "kernels of one vendor, which the plain operators choose themselves"],
  [/^quantized_(lstm|gru|rnn)/, "take packed parameters that only Python's quantization makes"],
  [/_overrideable$/, "hooks for other backends"],
  [/^(align_to|align_as|align_tensors|refine_names|rename|rename_)$/, "named dimensions, which PyTorch never finished"],
  [/^lift(_|$)/, "markers for functionalization"],
  [
    /^(copy|set|zero|uniform|random|cauchy|exponential|geometric|log_normal|normal_functional|resize|resize_as|embedding_renorm|rrelu_with_noise_functional)$/,
    "out-of-place forms of in-place operators, made for functionalization and absent from Python",
  ],
  [/^(resize_as_sparse|sparse_resize|sparse_resize_and_clear|copy_sparse_to_sparse)$/, "likewise"],
  [/^(data|set_data)$/, "the `data` property of Tensor"],
  [/^(is_leaf|output_nr|retain_grad|retains_grad|backward)$/, "autograd's state, which Tensor has by hand"],
  [/^(size|stride|numel|dim|item|is_contiguous)$/, "metadata that Tensor reads without the dispatcher"],
  [/^(to|cpu|cuda)$/, "conversions that return the same object when nothing changes, in conversion.ts"],
  [/^slice_inverse$/, "derivative of a slice, for functionalization"],
  [/^get_gradients$/, "distributed autograd, which this package does not have"],
  [
    /^(sym_|is_non_overlapping_and_dense|is_strides_like|is_contiguous_memory_format)/,
    "symbolic shapes of torch.compile",
  ],
];

/** Operators with a function but no method. */
export const functionsOnly = [
  [/^(is_floating_point|is_complex)$/, "Tensor answers from its dtype"],
  [/^type_as$/, "conversion.ts has it, returning the same object when nothing changes"],
];

/** Overloads left out, by their name after the dot. */
export const excludedOverloads = [[/name|dimname/i, "named dimensions"]];

/** Argument types that have no JavaScript value; overloads with one are left out. */
export const unsupportedTypes = /^(Storage|Stream|QScheme|str\[|Dict\(|__torch__|Any|AnyEnumType|t\b|\w+Base)/;

/** internal: the reason why `name` is in `list`, or undefined. */
export function reasonFor(list, name) {
  return list.find(([pattern]) => pattern.test(name))?.[1];
}
