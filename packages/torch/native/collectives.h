// What the files about collectives share: how a tensor is staged for a transport, the arguments of a call, and its
// start.
#pragma once

#include <string>
#include <vector>

#include "distributed.h"

namespace fabric {

using Tensors = std::vector<at::Tensor>;
using ReduceKind = c10d::ReduceOp::RedOpType;

// ---- reductions.cc ------------------------------------------------------------------------------------------

// A contiguous tensor with the same elements, to be read only.
at::Tensor readable(Operation& operation, const at::Tensor& tensor);
// A contiguous tensor whose elements arrive in `tensor` when the operation is done.
at::Tensor writable(Operation& operation, const at::Tensor& tensor);

struct Reduction {
  ReduceKind kind = ReduceKind::SUM;
  bool average = false;
};

// What the name of a reduction means for elements of a type; a named error where it means nothing.
Reduction reductionOf(const std::string& name, at::ScalarType type, const std::string& what);

// The type in which elements are added up. bfloat16 goes through float32: one rounding, however many ranks there are.
at::ScalarType computeType(const Group& group, at::ScalarType type);

// On zeros and ones, adding is "or" (without overflow) and multiplying is "and".
ReduceKind kindForBytes(ReduceKind kind);

// Integers: the quotient is computed in floating point and truncated toward zero, as PyTorch's in-place copy does.
void divideInPlace(const at::Tensor& sum, int size);

struct Staged {
  at::Tensor buffer;
  ReduceKind kind;
};

// What to reduce in place of `tensor`; the result arrives in `tensor` when the operation is done.
Staged stageReduction(Operation& operation, const at::Tensor& tensor, const Reduction& reduction);

// Reduces dimension 0 in the order of the ranks.
at::Tensor reduceRows(const at::Tensor& rows, ReduceKind kind);

// ---- collectives.cc -----------------------------------------------------------------------------------------

// The arguments of every collective; each uses what concerns it.
struct Call {
  Tensors outputs;
  Tensors inputs;
  std::string op;
  int peer = 0;  // source, destination or root, as a rank of the group
  int tag = 0;
  std::string label;  // what the user called, such as "fabric.save"; empty for the collective itself
};

// "float32 [2, 3]"
std::string describeTensor(const at::Tensor& tensor);

// Starts the collective `name`.
std::shared_ptr<Operation> startCollective(const std::shared_ptr<Group>& group, const std::string& name,
                                           const Call& call);

// ---- works.cc -----------------------------------------------------------------------------------------------

struct WorkObject final : Object {
  explicit WorkObject(std::shared_ptr<Operation> operation) : Object(Kind::Work), operation(std::move(operation)) {}
  std::shared_ptr<Operation> operation;
};

// Blocks until an operation is done.
void waitForOperation(const std::shared_ptr<Operation>& operation);

const std::vector<Export>& workExports();
const std::vector<Export>& gatherGradientExports();

}  // namespace fabric
