// What happens to a bucket of gradients in place of the reducer's own averaging: other element types, compression, or a
// function of the user's.
#pragma once

#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/comm.hpp>

#include "distributed.h"

namespace fabric {

// The one hook that a reducer accepts; what it does can be replaced.
class CommHookSlot final : public c10d::CommHookInterface {
 public:
  explicit CommHookSlot(std::shared_ptr<c10d::CommHookInterface> inner) : inner_(std::move(inner)) {}
  void replace(std::shared_ptr<c10d::CommHookInterface> inner) { inner_ = std::move(inner); }
  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override { return inner_->runHook(bucket); }
  at::Tensor parseHookResult(const c10::IValue& result) override { return inner_->parseHookResult(result); }

 private:
  std::shared_ptr<c10d::CommHookInterface> inner_;
};

// Averages in float32 what the transport cannot add up, and the rest as it is.
std::shared_ptr<c10d::CommHookInterface> makeWideningHook(std::shared_ptr<Group> group);

// Sends gradients in float16 or bfloat16.
std::shared_ptr<c10d::CommHookInterface> makeCompressionHook(std::shared_ptr<Group> group, at::ScalarType type);

// Calls JavaScript: `run(index, isLast, buffer, gradients, parameterIndices)` gives [tensor, null], or [null, work] of
// a collective on its way, and then `finish(index)` gives the tensor.
std::shared_ptr<c10d::CommHookInterface> makeJsHook(napi_env env, napi_value run, napi_value finish,
                                                    std::vector<at::Tensor> parameters);

}  // namespace fabric
