// How tensors are staged for a transport: contiguous copies, element types that it does not know, and reductions that
// it does not have, the same way on every LibTorch.
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_or.h>
#include <ATen/ops/bitwise_xor.h>
#include <ATen/ops/div.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/view_as_real.h>

#include "collectives.h"

namespace fabric {

at::Tensor bytesOf(const at::Tensor& tensor) { return tensor.detach().view({-1}).view(at::kByte); }

bool canReduce(const Group& group, at::ScalarType type) {
  switch (type) {
    case at::kFloat:
    case at::kDouble:
    case at::kHalf:
    case at::kChar:
    case at::kByte:
    case at::kInt:
    case at::kLong:
      return true;
    case at::kBFloat16:
      return group.nccl();
    default:
      return false;
  }
}

// ---- staging ------------------------------------------------------------------------------------------------

at::Tensor readable(Operation& operation, const at::Tensor& tensor) {
  at::Tensor dense = tensor.detach().resolve_conj().resolve_neg().contiguous();
  operation.buffers.push_back(dense);
  return dense;
}

at::Tensor writable(Operation& operation, const at::Tensor& tensor) {
  at::Tensor own = tensor.detach();
  at::Tensor dense = own.resolve_conj().resolve_neg().contiguous();
  operation.buffers.push_back(dense);
  if (!dense.is_alias_of(own) || !own.is_contiguous()) {
    operation.after.push_back([own, dense] { own.copy_(dense); });
  }
  return dense;
}

// ---- reductions ---------------------------------------------------------------------------------------------

Reduction reductionOf(const std::string& name, at::ScalarType type, const std::string& what) {
  static const std::pair<const char*, ReduceKind> kinds[] = {
      {"sum", ReduceKind::SUM},         {"avg", ReduceKind::SUM}, {"mean", ReduceKind::SUM},
      {"product", ReduceKind::PRODUCT}, {"min", ReduceKind::MIN}, {"max", ReduceKind::MAX},
      {"band", ReduceKind::BAND},       {"bor", ReduceKind::BOR}, {"bxor", ReduceKind::BXOR}};
  for (const auto& [known, kind] : kinds) {
    if (name != known) continue;
    const bool bitwise = kind == ReduceKind::BAND || kind == ReduceKind::BOR || kind == ReduceKind::BXOR;
    const bool average = name == "avg" || name == "mean";
    if (bitwise && !at::isIntegralType(type, true)) {
      throw JsError("TypeError", what + " with op \"" + name + "\" needs integers or booleans.");
    }
    if (at::isComplexType(type) && kind != ReduceKind::SUM) {
      throw JsError("TypeError", what + " with op \"" + name + "\" has no meaning for complex numbers.");
    }
    if (average && type == at::kBool) {
      throw JsError("TypeError", what + ": booleans have no average.", "Convert the tensor with `.float()` first.");
    }
    return {kind, average};
  }
  throw JsError("TypeError", what + " got the op \"" + name + "\".",
                "Choose \"sum\", \"avg\", \"product\", \"min\", \"max\", \"band\", \"bor\" or \"bxor\".");
}

at::ScalarType computeType(const Group& group, at::ScalarType type) {
  if (type == at::kBool) return at::kByte;
  if (canReduce(group, type)) return type;
  if (type == at::kBFloat16) return at::kFloat;
  if (type == at::kShort) return at::kInt;
  throw JsError("NotSupportedError",
                std::string("Tensors of type ") + dtypeName(type) + " cannot be reduced over processes.",
                "Convert the tensor to float32, float64, int32 or int64 first.");
}

ReduceKind kindForBytes(ReduceKind kind) {
  if (kind == ReduceKind::SUM || kind == ReduceKind::BOR) return ReduceKind::MAX;
  if (kind == ReduceKind::PRODUCT || kind == ReduceKind::BAND) return ReduceKind::MIN;
  return kind;
}

void divideInPlace(const at::Tensor& sum, int size) {
  if (at::isIntegralType(sum.scalar_type(), false))
    sum.copy_(at::div(sum.to(at::kDouble), size));
  else
    sum.div_(size);
}

Staged stageReduction(Operation& operation, const at::Tensor& tensor, const Reduction& reduction) {
  const Group& group = *operation.group;
  at::Tensor target = writable(operation, tensor);
  if (target.is_complex()) target = at::view_as_real(target);
  const at::ScalarType type = target.scalar_type();
  const at::ScalarType compute = computeType(group, type);
  at::Tensor buffer = type == at::kBool ? bytesOf(target) : target.to(compute);
  std::vector<std::function<void()>> finish;
  if (reduction.average) finish.push_back([buffer, size = group.size] { divideInPlace(buffer, size); });
  if (!buffer.is_alias_of(target)) finish.push_back([target, buffer] { target.copy_(buffer); });
  // Before the copy into a tensor that is not contiguous.
  operation.after.insert(operation.after.begin(), finish.begin(), finish.end());
  operation.buffers.push_back(buffer);
  return {buffer, type == at::kBool ? kindForBytes(reduction.kind) : reduction.kind};
}

at::Tensor reduceRows(const at::Tensor& rows, ReduceKind kind) {
  at::Tensor result = rows[0].clone();
  for (int64_t i = 1; i < rows.size(0); i++) {
    const at::Tensor row = rows[i];
    switch (kind) {
      case ReduceKind::SUM:
        result.add_(row);
        break;
      case ReduceKind::PRODUCT:
        result.mul_(row);
        break;
      case ReduceKind::MIN:
        result = at::minimum(result, row);
        break;
      case ReduceKind::MAX:
        result = at::maximum(result, row);
        break;
      case ReduceKind::BAND:
        result = at::bitwise_and(result, row);
        break;
      case ReduceKind::BOR:
        result = at::bitwise_or(result, row);
        break;
      default:
        result = at::bitwise_xor(result, row);
        break;
    }
  }
  return result;
}

}  // namespace fabric
