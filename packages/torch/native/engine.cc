// The engine with JavaScript in it: where a forward call came from, and hooks on what operators save for backward.
#include "engine.h"

#include <torch/csrc/autograd/anomaly_mode.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>

#include <mutex>

#include "callbacks.h"
#include "compat-autograd.h"

namespace fabric {

namespace {

// The environment whose JavaScript this thread runs; null on the engine's threads.
thread_local napi_env jsEnv = nullptr;

// ---- anomaly mode -------------------------------------------------------------------------------------------

std::mutex anomalyMutex;
std::string anomaly;  // what the last pass failed at

// Calls `callerStack` of native.ts. Nothing may go wrong here: forward calls must not fail for want of a stack.
std::string callerStack() {
  if (!jsEnv) return "";
  bool pending = false;
  EnvData& data = envData(jsEnv);
  if (!data.callerStack || napi_is_exception_pending(jsEnv, &pending) != napi_ok || pending) return "";
  std::string text;
  onJsThread(jsEnv, [&] {
    napi_value function, receiver, stack;
    check(napi_get_reference_value(jsEnv, data.callerStack, &function));
    check(napi_get_undefined(jsEnv, &receiver));
    if (napi_call_function(jsEnv, receiver, function, 0, nullptr, &stack) == napi_ok) {
      text = stringOf(jsEnv, stack);
    } else {
      check(napi_get_and_clear_last_exception(jsEnv, &stack));
    }
  });
  return text;
}

class JsAnomalyMetadata final : public torch::autograd::AnomalyMetadata {
 public:
  void store_stack() override { stack_ = callerStack(); }

  void assign_parent(const compat::NodePtr& parent) override { parent_ = parent; }

  // Called for the function whose backward failed.
  void print_stack(const std::string& name) override {
    std::string text = "The forward call that " + name + " belongs to:\n" + stackText();
    for (compat::NodePtr node = parent_; node;) {
      auto* metadata = dynamic_cast<JsAnomalyMetadata*>(node->metadata());
      if (!metadata) break;
      text += "\nThat was made by the backward pass through " + node->name() + ", whose forward call is:\n" +
              metadata->stackText();
      node = metadata->parent_;
    }
    const std::lock_guard<std::mutex> lock(anomalyMutex);
    anomaly = text;
  }

 private:
  std::string stackText() const { return stack_.empty() ? "    (made outside of detectAnomaly)" : stack_; }

  std::string stack_;
  compat::NodePtr parent_;
};

// ---- hooks on saved tensors ---------------------------------------------------------------------------------

struct HookPair {
  HookPair(napi_env env, napi_value pack, napi_value unpack) : pack(env, pack), unpack(env, unpack) {}
  JsFunction pack, unpack;
  // Kept as long as anything that was packed. The edges hold what a saved leaf finds its gradient by.
  std::vector<torch::autograd::SavedVariable> inputs;
  torch::autograd::edge_list edges;
};

thread_local std::vector<std::shared_ptr<HookPair>> hookStack;
thread_local HookPair* unpacking = nullptr;

// One saved tensor: holds what `pack` made of it.
class JsSavedTensor final : public torch::autograd::SavedVariableHooks {
 public:
  explicit JsSavedTensor(std::shared_ptr<HookPair> hooks) : hooks_(std::move(hooks)) {}

  void call_pack_hook(const at::Tensor& tensor) override {
    const napi_env env = hooks_->pack.env();
    // Without its history, which the graph knows anyway: an output that is kept must not hold its own graph.
    onJsThread(env, [&] {
      packed_ = std::make_unique<JsReference>(env, hooks_->pack.call({wrapTensor(env, tensor.tensor_data())}));
    });
  }
  at::Tensor call_unpack_hook() override {
    const napi_env env = hooks_->unpack.env();
    at::Tensor result;
    onJsThread(env, [&] {
      struct Unpacking {
        explicit Unpacking(HookPair* hooks) : before(std::exchange(unpacking, hooks)) {}
        ~Unpacking() { unpacking = before; }
        HookPair* before;
      } running(hooks_.get());
      result = tensorOf(env, hooks_->unpack.call({packed_->value()}), "result of unpack");
    });
    return result;
  }

 private:
  std::shared_ptr<HookPair> hooks_;
  std::unique_ptr<JsReference> packed_;
};

// ---- the engine ---------------------------------------------------------------------------------------------

class JsEngine final : public torch::autograd::Engine {
 public:
  std::unique_ptr<torch::autograd::AnomalyMetadata> make_anomaly_metadata() override {
    return std::make_unique<JsAnomalyMetadata>();
  }
  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override {
    if (hookStack.empty()) return nullptr;
    return std::make_unique<JsSavedTensor>(hookStack.back());
  }
};

// Never destroyed: at exit its threads may be anywhere.
torch::autograd::Engine& jsEngine() {
  static auto* engine = new JsEngine;
  return *engine;
}

}  // namespace

void installEngine(napi_env env) {
  jsEnv = env;
  torch::autograd::set_default_engine_stub(jsEngine);
}

void forgetAnomaly() {
  const std::lock_guard<std::mutex> lock(anomalyMutex);
  anomaly.clear();
}

static void warn(napi_env env, const std::string& text) {
  napi_value function, receiver, ignored;
  check(napi_get_reference_value(env, envData(env).warn, &function));
  check(napi_get_undefined(env, &receiver));
  napi_value argument = jsString(env, text);
  check(napi_call_function(env, receiver, function, 1, &argument, &ignored));
}

void explainAnomaly(napi_env env) {
  std::string text;
  {
    const std::lock_guard<std::mutex> lock(anomalyMutex);
    text = std::exchange(anomaly, "");
  }
  bool pending = false;
  check(napi_is_exception_pending(env, &pending));
  if (text.empty() || pending) return;
  try {
    throw;
  } catch (const JsThrew&) {
    // The user's own error arrives as it is.
    warn(env, text);
    throw;
  } catch (...) {
    const JsError error = describeException(std::current_exception());
    throw JsError(error.kind, error.what() + ("\n" + text), error.hint, error.code);
  }
}

// ---- exports ------------------------------------------------------------------------------------------------

static napi_value setDetectAnomaly(napi_env env, napi_callback_info info) {
  return guarded(env, "setDetectAnomaly", [&]() -> napi_value {
    Args<2> a(env, info);
    torch::autograd::AnomalyMode::set_enabled(boolOf(env, a[0], "enabled"), boolOf(env, a[1], "checkNan"));
    return jsUndefined(env);
  });
}

static napi_value detectAnomalyState(napi_env env, napi_callback_info) {
  return guarded(env, "detectAnomalyState", [&]() -> napi_value {
    napi_value result;
    check(napi_create_array_with_length(env, 2, &result));
    check(napi_set_element(env, result, 0, jsBool(env, torch::autograd::AnomalyMode::is_enabled())));
    check(napi_set_element(env, result, 1, jsBool(env, torch::autograd::AnomalyMode::should_check_nan())));
    return result;
  });
}

// pushSavedTensorHooks(pack, unpack, inputs): the inputs are saved too, by the hooks outside of these.
static napi_value pushSavedTensorHooks(napi_env env, napi_callback_info info) {
  return guarded(env, "pushSavedTensorHooks", [&]() -> napi_value {
    Args<3> a(env, info);
    deleteDeadReferences(env);
    auto hooks = std::make_shared<HookPair>(env, a[0], a[1]);
    const auto inputs = tensorsOf(env, a[2], "inputs");
    for (const at::Tensor& input : inputs) hooks->inputs.emplace_back(input, false);
    hooks->edges = torch::autograd::collect_next_edges(inputs);
    hookStack.push_back(std::move(hooks));
    return jsUndefined(env);
  });
}

// Inside `unpack`: the inputs that were saved with its hooks.
static napi_value savedHookInputs(napi_env env, napi_callback_info) {
  return guarded(env, "savedHookInputs", [&]() -> napi_value {
    std::vector<at::Tensor> result;
    if (unpacking) {
      for (const auto& input : unpacking->inputs) result.push_back(input.unpack());
    }
    return wrapTensors(env, result);
  });
}

static napi_value popSavedTensorHooks(napi_env env, napi_callback_info) {
  return guarded(env, "popSavedTensorHooks", [&]() -> napi_value {
    if (!hookStack.empty()) hookStack.pop_back();
    return jsUndefined(env);
  });
}

const std::vector<Export>& engineExports() {
  static const std::vector<Export> table = {{"setDetectAnomaly", setDetectAnomaly},
                                            {"detectAnomalyState", detectAnomalyState},
                                            {"pushSavedTensorHooks", pushSavedTensorHooks},
                                            {"popSavedTensorHooks", popSavedTensorHooks},
                                            {"savedHookInputs", savedHookInputs}};
  return table;
}

}  // namespace fabric
