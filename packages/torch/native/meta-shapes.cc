// The engine knows the shapes of many operators' results without computing them; of the others only its Python half
// does. Those run on zeros on the CPU here, one at a time, and only the shapes are kept; convolutions have a rule.
#include "meta-shapes.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <string>

namespace fabric {

namespace {

using c10::DispatchKey;
using torch::jit::Stack;

// ---- convolutions -------------------------------------------------------------------------------------------

at::Tensor emptyMeta(at::IntArrayRef shape, const at::Tensor& like) {
  return at::empty(shape, like.options().device(at::kMeta));
}

// convolution_overrideable(input, weight, bias, stride, padding, dilation, transposed, outputPadding, groups)
void convolution(const c10::OperatorHandle&, Stack* stack) {
  const c10::ArrayRef<c10::IValue> arguments(stack->data() + stack->size() - 9, 9);
  const auto input = arguments[0].toTensor();
  const auto weight = arguments[1].toTensor();
  const c10::ArrayRef<const c10::IValue> options(arguments.data() + 3, 6);
  const auto output = emptyMeta(convolutionShape(input.sizes(), weight.sizes(), options), input);
  stack->resize(stack->size() - 9);
  stack->emplace_back(output);
}

// convolution_backward_overrideable(grad, input, weight, stride, padding, dilation, transposed, outputPadding, groups,
// mask) -> gradients of input, weight and bias
void convolutionBackward(const c10::OperatorHandle&, Stack* stack) {
  const c10::ArrayRef<c10::IValue> arguments(stack->data() + stack->size() - 10, 10);
  const auto grad = arguments[0].toTensor();
  const auto input = arguments[1].toTensor();
  const auto weight = arguments[2].toTensor();
  const auto mask = arguments[9].toBoolList();
  const auto gradInput = mask[0] ? emptyMeta(input.sizes(), grad) : at::Tensor();
  const auto gradWeight = mask[1] ? emptyMeta(weight.sizes(), grad) : at::Tensor();
  const auto gradBias = mask[2] ? emptyMeta(grad.sizes()[1], grad) : at::Tensor();
  stack->resize(stack->size() - 10);
  stack->emplace_back(gradInput);
  stack->emplace_back(gradWeight);
  stack->emplace_back(gradBias);
}

// ---- everything else ----------------------------------------------------------------------------------------

// The same value with zeros on the CPU in place of meta tensors.
c10::IValue onZeros(const c10::IValue& value) {
  if (value.isTensor() && value.toTensor().defined() && value.toTensor().is_meta()) {
    const at::Tensor& tensor = value.toTensor();
    return at::zeros(tensor.sizes(), tensor.options().device(at::kCPU));
  }
  if (!value.isList()) return value;
  auto list = value.toList().copy();
  for (size_t i = 0; i < list.size(); i++) list.set(i, onZeros(list.get(i)));
  return list;
}

// The argument that a result is: of `add_` and of `add.out`. -1 for a result of its own.
int64_t writtenArgument(const c10::FunctionSchema& schema, const c10::Argument& result) {
  if (!result.alias_info() || !result.alias_info()->isWrite()) return -1;
  for (size_t i = 0; i < schema.arguments().size(); i++) {
    const auto* info = schema.arguments()[i].alias_info();
    if (info && info->beforeSets() == result.alias_info()->beforeSets()) return static_cast<int64_t>(i);
  }
  return -1;
}

c10::IValue onMeta(const c10::IValue& result, const c10::IValue* written) {
  const at::Tensor& tensor = result.toTensor();
  if (!written) {
    if (!tensor.defined()) return result;
    return at::empty_strided(tensor.sizes(), tensor.strides(), tensor.options().device(at::kMeta));
  }
  const at::Tensor target = written->toTensor();
  if (target.sizes() != tensor.sizes()) target.resize_(tensor.sizes());
  return target;
}

void runOnZeros(const c10::OperatorHandle& op, Stack* stack) {
  const auto& schema = op.schema();
  const size_t base = stack->size() - schema.arguments().size();
  const std::vector<c10::IValue> given(stack->begin() + static_cast<int64_t>(base), stack->end());
  for (size_t i = base; i < stack->size(); i++) (*stack)[i] = onZeros((*stack)[i]);
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    op.callBoxed(stack);
  }
  for (size_t i = 0; i < schema.returns().size(); i++) {
    const int64_t written = writtenArgument(schema, schema.returns()[i]);
    (*stack)[base + i] = onMeta((*stack)[base + i], written < 0 ? nullptr : &given[static_cast<size_t>(written)]);
  }
}

// Zeros say nothing about these results' shapes.
bool dependsOnData(const std::string& name) {
  for (const char* part :
       {"nonzero", "unique", "masked_select", "repeat_interleave", "bincount", "sparse", "combinations"})
    if (name.find(part) != std::string::npos) return true;
  return false;
}

bool givesTensors(const c10::FunctionSchema& schema) {
  const auto isTensor = [](const c10::Argument& result) { return result.type()->kind() == c10::TypeKind::TensorType; };
  return !schema.returns().empty() && std::all_of(schema.returns().begin(), schema.returns().end(), isTensor);
}

// True for operators that compute on the CPU and have no rule for the meta device.
bool needsZeros(const c10::OperatorHandle& op) {
  if (!op.hasSchema() || !op.hasKernelForDispatchKey(DispatchKey::CPU)) return false;
  for (const auto key : {DispatchKey::Meta, DispatchKey::CompositeExplicitAutograd,
                         DispatchKey::CompositeExplicitAutogradNonFunctional, DispatchKey::CompositeImplicitAutograd})
    if (op.hasKernelForDispatchKey(key)) return false;
  return givesTensors(op.schema()) && !dependsOnData(op.operator_name().name);
}

template <c10::KernelFunction::BoxedKernelFunction* Kernel>
c10::RegistrationHandleRAII registerMeta(const c10::OperatorName& name) {
  return c10::Dispatcher::singleton().registerImpl(
      name, DispatchKey::Meta, c10::KernelFunction::makeFromBoxedFunction<Kernel>(), {}, nullptr, "fabric");
}

}  // namespace

std::shared_ptr<void> registerMetaShapes() {
  auto handles = std::make_shared<std::vector<c10::RegistrationHandleRAII>>();
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    if (name.name.rfind("aten::", 0) != 0) continue;
    const auto op = dispatcher.findOp(name);
    if (op && needsZeros(*op)) handles->push_back(registerMeta<runOnZeros>(name));
  }
  for (const auto& [name, isForward] : {std::pair("aten::convolution_overrideable", true),
                                        std::pair("aten::convolution_backward_overrideable", false)}) {
    const auto op = dispatcher.findOp({name, ""});
    if (!op || op->hasKernelForDispatchKey(DispatchKey::Meta)) continue;
    handles->push_back(isForward ? registerMeta<convolution>({name, ""})
                                 : registerMeta<convolutionBackward>({name, ""}));
  }
  return handles;
}

std::vector<int64_t> convolutionShape(c10::IntArrayRef input, c10::IntArrayRef weight,
                                      c10::ArrayRef<const c10::IValue> options) {
  const auto at = [&](size_t list, size_t i) {
    const auto values = options[list].toIntVector();
    return values[values.size() == 1 ? 0 : i];
  };
  const bool transposed = options[3].toBool();
  std::vector<int64_t> output{input[0], transposed ? weight[1] * options[5].toInt() : weight[0]};
  for (size_t i = 0; i + 2 < input.size(); i++) {
    const int64_t reach = at(2, i) * (weight[i + 2] - 1) + 1;
    output.push_back(transposed ? (input[i + 2] - 1) * at(0, i) - 2 * at(1, i) + reach + at(4, i)
                                : (input[i + 2] + 2 * at(1, i) - reach) / at(0, i) + 1);
  }
  return output;
}

}  // namespace fabric
