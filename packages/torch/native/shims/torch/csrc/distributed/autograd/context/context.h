// Stands in for a header that some packages of LibTorch 1.13 lack although c10d's reducer.hpp includes it. Only the
// names that reducer.hpp uses are declared; the real header wins where it exists, since this folder comes last in the
// search path.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

namespace torch::distributed::autograd {

class DistAutogradContext {
 public:
  using GradCallback = std::function<bool(at::Tensor&)>;
};

using ContextPtr = std::shared_ptr<DistAutogradContext>;

}  // namespace torch::distributed::autograd
