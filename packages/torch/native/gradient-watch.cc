// The hooks behind GradientWatch: one on the gradient accumulator of each parameter, which costs a comparison.
#include "gradient-watch.h"

#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <unordered_map>

#include "handle.h"

namespace fabric {

namespace {

enum class Expectation { None, Averaged, Local };

}  // namespace

// The time in a backward pass in which ranks wait for each other's gradients.
struct AveragingPhase {
  std::shared_ptr<Flight> flight;
  std::string text;
  bool once = true;  // a gradient comes once in each pass; not so on the first pass over a static graph
  std::shared_ptr<FlightEntry> entry;
};

struct WatchedParameter {
  std::string name;
  Expectation expected = Expectation::None;
  bool seen = false;
  int localDepth = 0;
  int users = 0;
  std::shared_ptr<AveragingPhase> phase;
  std::shared_ptr<torch::autograd::Node> accumulator;  // kept, because the hook lives in it
};

namespace {

std::mutex watchedMutex;
std::unordered_map<const c10::TensorImpl*, std::weak_ptr<WatchedParameter>> watchedParameters;

// Notes that the averaging has begun, until the engine has run what the reducer has queued behind this.
void enterPhase(const std::shared_ptr<AveragingPhase>& phase) {
  if (!phase || phase->entry) return;
  phase->entry = phase->flight->begin(phase->text, false, true);
  torch::autograd::Engine::get_default_engine().queue_callback([phase] {
    // All gradients are there. The reducer's own callback comes next, and waits for the buckets.
    if (phase->entry) phase->entry->wait();
    torch::autograd::Engine::get_default_engine().queue_callback([phase] { phase->entry.reset(); });
  });
}

void onGradient(WatchedParameter& parameter) {
  if (parameter.users == 0 || parameter.localDepth > 0 || parameter.expected == Expectation::Local) return;
  const bool once = !parameter.phase || parameter.phase->once;
  if (parameter.expected == Expectation::Averaged && !(parameter.seen && once)) {
    parameter.seen = true;
    enterPhase(parameter.phase);
    return;
  }
  throw JsError(
      "UsageError",
      "The gradient of `" + parameter.name +
          "` would not be averaged over the ranks, and their models would drift apart: it does not come from a call of "
          "the wrapped model, or this is the second backward pass since that call.",
      "Compute the loss with `model(x)` or a marked method, not with `model.module(x)` or a layer as in "
      "`model.layer(x)`, and run one backward pass for each call: add several losses up. For gradients that shall stay "
      "on their rank, use `fabric.noBackwardSync(model, ...)`, or `noSync()` of DistributedDataParallel.",
      "ERR_GRADIENT_NOT_AVERAGED");
}

std::shared_ptr<WatchedParameter> watchedOf(const at::Tensor& tensor, const std::string& name) {
  auto& place = watchedParameters[tensor.unsafeGetTensorImpl()];
  if (auto known = place.lock()) return known;
  auto made = std::make_shared<WatchedParameter>();
  made->name = name;
  made->accumulator = torch::autograd::impl::grad_accumulator(tensor);
  using torch::autograd::variable_list;
  made->accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
      [weak = std::weak_ptr<WatchedParameter>(made)](const variable_list& outputs, const variable_list&) {
        if (const auto parameter = weak.lock()) onGradient(*parameter);
        return outputs;
      }));
  place = made;
  return made;
}

}  // namespace

GradientWatch::GradientWatch(const std::vector<at::Tensor>& parameters, const std::vector<std::string>& names,
                             bool staticGraph, std::shared_ptr<Flight> flight)
    : phase_(std::make_shared<AveragingPhase>()) {
  phase_->flight = std::move(flight);
  phase_->text = "DistributedDataParallel: averaging gradients in a backward pass";
  phase_->once = !staticGraph;
  const std::lock_guard<std::mutex> lock(watchedMutex);
  for (size_t i = 0; i < parameters.size(); i++) {
    parameters_.push_back(watchedOf(parameters[i], names[i]));
    parameters_.back()->users++;
  }
}

GradientWatch::~GradientWatch() {
  const std::lock_guard<std::mutex> lock(watchedMutex);
  for (auto& parameter : parameters_) parameter->users--;
  parameters_.clear();
  for (auto at = watchedParameters.begin(); at != watchedParameters.end();) {
    at = at->second.expired() ? watchedParameters.erase(at) : std::next(at);
  }
}

void GradientWatch::called(bool averaged) {
  phase_->entry.reset();
  for (auto& parameter : parameters_) {
    parameter->expected = averaged ? Expectation::Averaged : Expectation::Local;
    parameter->seen = false;
    if (parameter->phase != phase_) parameter->phase = phase_;
  }
}

void GradientWatch::allowLocal(int delta) {
  for (auto& parameter : parameters_) parameter->localDepth += delta;
}

}  // namespace fabric
