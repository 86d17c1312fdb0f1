// Functions with a backward of the user's own: the node that stands for one call in the graph. Forward has already run,
// in JavaScript, when the node is made; backward runs there too, on the JavaScript thread.
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/csrc/autograd/saved_variable.h>

#include "callbacks.h"
#include "compat-autograd.h"

namespace fabric {

namespace {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

class FunctionNode final : public torch::autograd::Node {
 public:
  FunctionNode(torch::autograd::edge_list&& next, std::string name, std::unique_ptr<JsFunction> backward)
      : Node(std::move(next)), name_(std::move(name)), backward_(std::move(backward)) {}

  std::string name() const override { return name_; }

  variable_list apply(variable_list&& gradients) override;

  void release_variables() override {
    saved_.clear();
    released_ = true;
  }

  void save(const std::vector<at::Tensor>& tensors) {
    for (const at::Tensor& tensor : tensors) {
      // An output must not keep its own node alive: it finds it again when it is unpacked.
      saved_.emplace_back(tensor, tensor.defined() && tensor.grad_fn().get() == this);
    }
  }
  variable_list saved() {
    TORCH_CHECK(!released_, torch::autograd::ERR_BACKWARD_TWICE);
    variable_list result;
    for (const SavedVariable& variable : saved_) result.push_back(variable.unpack(compat::pointerTo(this)));
    return result;
  }

  // What stands for the gradient of an output that nothing used, when gradients are to be materialised.
  void zerosLike(const std::vector<at::Tensor>& outputs) {
    for (const at::Tensor& output : outputs) {
      zeros_.emplace_back(output.defined() ? output.options() : at::TensorOptions(),
                          output.defined() ? output.sizes().vec() : std::vector<int64_t>());
      isTensor_.push_back(output.defined());
    }
  }

 private:
  std::string name_;
  std::unique_ptr<JsFunction> backward_;
  std::vector<SavedVariable> saved_;
  bool released_ = false;
  std::vector<std::pair<at::TensorOptions, std::vector<int64_t>>> zeros_;
  std::vector<bool> isTensor_;
};

// For `savedTensors` during a backward pass. The node may be gone after it.
struct FunctionHandle final : Object {
  explicit FunctionHandle(std::shared_ptr<FunctionNode*> n) : Object(Kind::Function), node(std::move(n)) {}
  std::shared_ptr<FunctionNode*> node;
};

variable_list FunctionNode::apply(variable_list&& gradients) {
  for (size_t i = 0; i < zeros_.size(); i++) {
    if (!gradients[i].defined() && isTensor_[i]) gradients[i] = at::zeros(zeros_[i].second, zeros_[i].first);
  }
  struct Running {
    std::shared_ptr<FunctionNode*> node;
    ~Running() { *node = nullptr; }
  } running{std::make_shared<FunctionNode*>(this)};
  variable_list result;
  const napi_env env = backward_->env();
  onJsThread(env, [&] {
    napi_value handle = makeExternal(env, new FunctionHandle(running.node));
    result = tensorsOf(env, backward_->call({wrapTensors(env, gradients), handle}), "result of backward");
  });
  return result;
}

compat::Impls implsOf(const std::vector<at::Tensor>& tensors) {
  compat::Impls result;
  for (const at::Tensor& tensor : tensors) result.insert(tensor.unsafeGetTensorImpl());
  return result;
}

// The tangents of the outputs, where inputs have some: what the class's `jvp` makes of them.
compat::_jvp_fn_t jvpOf(napi_env env, napi_value function) {
  return [env, function](const variable_list&, const variable_list& tangents) {
    if (isNullish(env, function)) {
      throw JsError("NotSupportedError", "This function has no `jvp`, which forward-mode differentiation needs.",
                    "Give its class a `static jvp(ctx, ...tangents)`.");
    }
    return tensorsOf(env, JsFunction(env, function).call({wrapTensors(env, tangents)}), "result of jvp");
  };
}

compat::Outputs rawOutputs(const std::vector<at::Tensor>& outputs) {
  compat::Outputs result;
  for (const at::Tensor& output : outputs) {
    if (output.defined()) {
      result.emplace_back(output);
    } else {
      result.emplace_back();
    }
  }
  return result;
}

// applyFunction(name, inputs, outputs, dirty, nonDifferentiable, saved, materialize, backward, jvp) => outputs
//
// Makes the outputs of a forward that ran without recording functions of its inputs. `backward(gradients, node)` gives
// the gradients of the inputs; with null in its place nothing is recorded. `jvp(tangents)` may be null. Entries of
// `outputs` that are no tensors are null.
napi_value applyFunction(napi_env env, napi_callback_info info) {
  return guarded(env, "applyFunction", [&]() -> napi_value {
    Args<9> a(env, info);
    deleteDeadReferences(env);
    const auto inputs = tensorsOf(env, a[1], "inputs"), outputs = tensorsOf(env, a[2], "outputs");
    const auto dirty = tensorsOf(env, a[3], "dirty"), constant = tensorsOf(env, a[4], "nonDifferentiable");
    compat::PtrTo<FunctionNode> node;
    if (!isNullish(env, a[7])) {
      node = compat::makeNode<FunctionNode>(torch::autograd::collect_next_edges(inputs), stringOf(env, a[0], "name"),
                                            std::make_unique<JsFunction>(env, a[7]));
    }
    for (const at::Tensor& tensor : dirty) torch::autograd::impl::bump_version(tensor);
    variable_list results;
    for (const auto& output :
         compat::wrapOutputs(inputs, implsOf(constant), implsOf(dirty), rawOutputs(outputs), node, jvpOf(env, a[8]))) {
      results.push_back(output.value_or(at::Tensor()));
    }
    if (node) {
      node->save(tensorsOf(env, a[5], "saved"));
      if (boolOf(env, a[6], "materialize")) node->zerosLike(results);
    }
    napi_value array;
    check(napi_create_array_with_length(env, results.size(), &array));
    for (uint32_t i = 0; i < results.size(); i++) {
      napi_value handle;
      check(napi_get_element(env, a[2], i, &handle));
      if (!results[i].is_same(outputs[i])) handle = wrapTensor(env, results[i]);
      check(napi_set_element(env, array, i, handle));
    }
    return array;
  });
}

// savedTensors(node) => what forward saved, while the backward pass through the node runs.
napi_value savedTensors(napi_env env, napi_callback_info info) {
  return guarded(env, "savedTensors", [&]() -> napi_value {
    Args<1> a(env, info);
    FunctionNode* node = *unwrap<FunctionHandle>(env, a[0], Kind::Function, "node")->node;
    if (!node) throw JsError("UsageError", "`savedTensors` can be read while `backward` runs, not later.");
    return wrapTensors(env, node->saved());
  });
}

// delayedError(message, tensors) => the same values, whose own gradient is an error.
napi_value delayedError(napi_env env, napi_callback_info info) {
  return guarded(env, "delayedError", [&]() -> napi_value {
    Args<2> a(env, info);
    variable_list tensors = tensorsOf(env, a[1], "tensors");
    for (at::Tensor& tensor : tensors) {
      if (tensor.defined()) tensor = tensor.detach().requires_grad_();
    }
    const auto node = compat::makeNode<torch::autograd::DelayedError>(stringOf(env, a[0], "message"),
                                                                      static_cast<int>(tensors.size()));
    return wrapTensors(env, (*node)(std::move(tensors)));
  });
}

}  // namespace

const std::vector<Export>& functionExports() {
  static const std::vector<Export> table = {
      {"applyFunction", applyFunction}, {"savedTensors", savedTensors}, {"delayedError", delayedError}};
  return table;
}

}  // namespace fabric
