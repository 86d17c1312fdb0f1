// Notices gradients of a model under DistributedDataParallel that the reducer would leave on this rank: those of a pass
// that did not go through the wrapper, and those of a second backward pass. Left alone, the ranks' models drift apart.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "flight-recorder.h"

namespace fabric {

struct WatchedParameter;
struct AveragingPhase;

// The parameters of one wrapper. A parameter that several wrappers share is content with a call of any of them.
class GradientWatch {
 public:
  GradientWatch(const std::vector<at::Tensor>& parameters, const std::vector<std::string>& names, bool staticGraph,
                std::shared_ptr<Flight> flight);
  ~GradientWatch();
  GradientWatch(const GradientWatch&) = delete;
  GradientWatch& operator=(const GradientWatch&) = delete;

  // The model was called: its next gradients are averaged, or, in `noSync`, stay local on purpose.
  void called(bool averaged);
  // Entering (1) or leaving (-1) `noSync`: inside, gradients may stay local whatever they come from.
  void allowLocal(int delta);

 private:
  std::vector<std::shared_ptr<WatchedParameter>> parameters_;
  std::shared_ptr<AveragingPhase> phase_;
};

}  // namespace fabric
