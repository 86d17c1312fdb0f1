// Counting floating-point operations: an observer of the dispatcher sees every operator, those of backward passes too,
// and adds up what its formula gives for the shapes of its inputs. The formulas are those of torch.utils.flop_counter,
// and some for what that leaves out: matrix by vector, fused recurrent layers, groups of convolutions. One
// multiplication with its addition counts as two.
#include <ATen/record_function.h>

#include <map>
#include <mutex>
#include <unordered_map>

#include "handle.h"
#include "meta-shapes.h"

namespace fabric {

namespace {

using Inputs = c10::ArrayRef<const c10::IValue>;
using Formula = double (*)(Inputs);

at::IntArrayRef shapeOf(Inputs inputs, size_t index) { return inputs[index].toTensor().sizes(); }

double product(at::IntArrayRef sizes, size_t from = 0) {
  double result = 1;
  for (size_t i = from; i < sizes.size(); i++) result *= static_cast<double>(sizes[i]);
  return result;
}

// [..., m, k] by [..., k, n]
template <size_t First>
double ofProduct(Inputs inputs) {
  return 2 * product(shapeOf(inputs, First)) * static_cast<double>(shapeOf(inputs, First + 1).back());
}

// [m, k] by [k]
template <size_t First>
double ofVectorProduct(Inputs inputs) {
  return 2 * product(shapeOf(inputs, First));
}

// Every element on the wide side of a convolution meets every weight of its group.
double ofConvolution(at::IntArrayRef wide, at::IntArrayRef weight) {
  return 2 * static_cast<double>(wide[0]) * product(wide, 2) * product(weight);
}

// convolution(input, weight, bias, stride, padding, dilation, transposed, ...): transposed, the input is the wide side.
double ofForwardConvolution(Inputs inputs) {
  const auto input = shapeOf(inputs, 0);
  const auto weight = shapeOf(inputs, 1);
  if (inputs[6].toBool()) return ofConvolution(input, weight);
  return ofConvolution(convolutionShape(input, weight, inputs.slice(3, 6)), weight);
}

// convolution_backward(grad, input, weight, biasSizes, stride, padding, dilation, transposed, outputPadding, groups,
// mask)
double ofBackwardConvolution(Inputs inputs) {
  const auto mask = inputs[10].toBoolList();
  const double once = ofConvolution(shapeOf(inputs, inputs[7].toBool() ? 1 : 0), shapeOf(inputs, 2));
  return once * (static_cast<int>(mask[0]) + static_cast<int>(mask[1]));
}

// Queries [..., s, d], keys [..., t, d], values [..., t, e]: what one unit of d and one of e costs.
struct Attention {
  explicit Attention(Inputs inputs, size_t first) {
    const auto query = shapeOf(inputs, first);
    const auto key = shapeOf(inputs, first + 1);
    pairs = 2 * product(query) / static_cast<double>(query.back()) * static_cast<double>(key[key.size() - 2]);
    keyWidth = static_cast<double>(query.back());
    valueWidth = static_cast<double>(shapeOf(inputs, first + 2).back());
  }
  double pairs, keyWidth, valueWidth;
};

double ofForwardAttention(Inputs inputs) {
  const Attention a(inputs, 0);
  return a.pairs * (a.keyWidth + a.valueWidth);
}

// The scores once more, then the gradients of probabilities, values, queries and keys.
double ofBackwardAttention(Inputs inputs) {
  const Attention a(inputs, 1);
  return a.pairs * (3 * a.keyWidth + 2 * a.valueWidth);
}

// A fused recurrent layer or network: every step of every sequence meets every weight matrix. Input [..., width].
double ofRecurrence(Inputs inputs, const std::vector<at::Tensor>& weights) {
  double matrices = 0;
  for (const auto& weight : weights)
    if (weight.dim() > 1) matrices += product(weight.sizes());
  const auto input = shapeOf(inputs, 0);
  return 2 * product(input) / static_cast<double>(input.back()) * matrices;
}

template <int Times>
double ofRecurrentLayer(Inputs inputs) {
  return Times * ofRecurrence(inputs, {inputs[1].toTensor(), inputs[2].toTensor()});
}

template <int Times>
double ofRecurrentNetwork(Inputs inputs) {
  return Times * ofRecurrence(inputs, inputs[1].toTensorVector());
}

const std::unordered_map<std::string, Formula>& formulas() {
  static const std::unordered_map<std::string, Formula> table = {
      {"aten::mm", ofProduct<0>},
      {"aten::bmm", ofProduct<0>},
      {"aten::addmm", ofProduct<1>},
      {"aten::_addmm_activation", ofProduct<1>},
      {"aten::baddbmm", ofProduct<1>},
      {"aten::_scaled_mm", ofProduct<0>},
      {"aten::mv", ofVectorProduct<0>},
      {"aten::dot", ofVectorProduct<0>},
      {"aten::addmv", ofVectorProduct<1>},
      {"aten::convolution", ofForwardConvolution},
      {"aten::convolution_backward", ofBackwardConvolution},
      {"aten::mkldnn_rnn_layer", ofRecurrentLayer<1>},
      {"aten::mkldnn_rnn_layer_backward", ofRecurrentLayer<2>},
      {"aten::_cudnn_rnn", ofRecurrentNetwork<1>},
      {"aten::_cudnn_rnn_backward", ofRecurrentNetwork<2>},
      {"aten::_scaled_dot_product_flash_attention", ofForwardAttention},
      {"aten::_scaled_dot_product_flash_attention_for_cpu", ofForwardAttention},
      {"aten::_scaled_dot_product_efficient_attention", ofForwardAttention},
      {"aten::_scaled_dot_product_cudnn_attention", ofForwardAttention},
      {"aten::_scaled_dot_product_fused_attention_overrideable", ofForwardAttention},
      {"aten::_scaled_dot_product_flash_attention_backward", ofBackwardAttention},
      {"aten::_scaled_dot_product_flash_attention_for_cpu_backward", ofBackwardAttention},
      {"aten::_scaled_dot_product_efficient_attention_backward", ofBackwardAttention},
      {"aten::_scaled_dot_product_cudnn_attention_backward", ofBackwardAttention},
      {"aten::_scaled_dot_product_fused_attention_overrideable_backward", ofBackwardAttention},
  };
  return table;
}

// What has been counted, by operator, since the first of its users. Backward passes may run on other threads.
struct Counts {
  std::mutex mutex;
  std::map<std::string, double> byOperator;
  int users = 0;
  at::CallbackHandle callback = 0;
  std::shared_ptr<void> metaShapes;  // so that models without memory can be counted
};

Counts& counts() {
  static auto* one = new Counts;  // never destroyed: other threads may outlive static objects
  return *one;
}

// Operators that a counted one is made of are part of it.
thread_local int countedDepth = 0;

struct Counted : at::ObserverContext {
  Counted() { countedDepth++; }
  ~Counted() override { countedDepth--; }
};

std::unique_ptr<at::ObserverContext> onOperator(const at::RecordFunction& call) {
  if (countedDepth > 0) return nullptr;
  const auto found = formulas().find(call.name());
  if (found == formulas().end()) return nullptr;
  const double flops = found->second(call.inputs());
  const std::lock_guard<std::mutex> lock(counts().mutex);
  counts().byOperator[found->first] += flops;
  return std::make_unique<Counted>();
}

// countFlops(+1): begin; countFlops(-1): end. Nested users are counted.
napi_value countFlops(napi_env env, napi_callback_info info) {
  return guarded(env, "countFlops", [&]() -> napi_value {
    Args<1> a(env, info);
    const auto delta = static_cast<int>(intOf(env, a[0], "delta"));
    const std::lock_guard<std::mutex> lock(counts().mutex);
    const int before = counts().users;
    counts().users += delta;
    if (before == 0 && delta > 0) {
      counts().byOperator.clear();
      counts().metaShapes = registerMetaShapes();
      counts().callback = at::addGlobalCallback(at::RecordFunctionCallback(onOperator, [](const auto&, auto*) {})
                                                    .needsInputs(true)
                                                    .scopes({at::RecordScope::FUNCTION}));
    }
    if (before > 0 && counts().users == 0) {
      at::removeCallback(counts().callback);
      counts().metaShapes.reset();
    }
    return jsUndefined(env);
  });
}

// flopCounts() => { "aten::mm": 128 }, since the first of the users that count now.
napi_value flopCounts(napi_env env, napi_callback_info) {
  return guarded(env, "flopCounts", [&]() -> napi_value {
    napi_value result;
    check(napi_create_object(env, &result));
    const std::lock_guard<std::mutex> lock(counts().mutex);
    for (const auto& [name, flops] : counts().byOperator)
      check(napi_set_named_property(env, result, name.c_str(), jsNumber(env, flops)));
    return result;
  });
}

}  // namespace

const std::vector<Export>& flopExports() {
  static const std::vector<Export> table = {{"countFlops", countFlops}, {"flopCounts", flopCounts}};
  return table;
}

}  // namespace fabric
