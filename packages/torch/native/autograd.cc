// Backward passes, gradients, hooks on the JavaScript thread, native backward guards, grad and inference modes.
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <atomic>
#include <memory>
#include <sstream>

#include "callbacks.h"
#include "compat.h"

namespace fabric {

namespace {

// ---- backward passes ----------------------------------------------------------------------------------------

napi_value backward(napi_env env, napi_callback_info info) {
  return guarded(env, "backward", [&]() -> napi_value {
    Args<5> a(env, info);
    auto tensors = tensorsOf(env, a[0], "tensors");
    auto gradients = tensorsOf(env, a[1], "gradients");
    const bool retain = boolOf(env, a[2], "retainGraph"), create = boolOf(env, a[3], "createGraph");
    const auto inputs = isNullish(env, a[4]) ? std::vector<at::Tensor>() : tensorsOf(env, a[4], "inputs");
    for (size_t i = 0; i < tensors.size(); i++) {
      if (!tensors[i].requires_grad()) {
        throw JsError(
            "UsageError", "`backward()` was called on a tensor that does not require gradients and has no history.",
            "Compute the loss from parameters with `requiresGrad`, outside of `noGrad`, and do not `detach()` it.");
      }
      if (!gradients[i].defined() && tensors[i].numel() != 1) {
        throw JsError("UsageError",
                      "`backward()` without a gradient needs a tensor with one element, but this one has " +
                          std::to_string(tensors[i].numel()) + ".",
                      "Reduce it first (`loss.mean().backward()`), or pass a gradient of its shape.");
      }
    }
    runEngine(env, [&] { torch::autograd::backward(tensors, gradients, retain, create, inputs); });
    return jsUndefined(env);
  });
}

napi_value gradOf(napi_env env, napi_callback_info info) {
  return guarded(env, "gradOf", [&]() -> napi_value {
    Args<6> a(env, info);
    const auto outputs = tensorsOf(env, a[0], "outputs"), inputs = tensorsOf(env, a[1], "inputs");
    const auto gradients = tensorsOf(env, a[2], "gradOutputs");
    const bool retain = boolOf(env, a[3], "retainGraph"), create = boolOf(env, a[4], "createGraph");
    const bool allowUnused = boolOf(env, a[5], "allowUnused");
    std::vector<at::Tensor> result;
    runEngine(env, [&] { result = torch::autograd::grad(outputs, inputs, gradients, retain, create, allowUnused); });
    return wrapTensors(env, result);
  });
}

// ---- hooks --------------------------------------------------------------------------------------------------

// What a JavaScript hook makes of a gradient; undefined where it leaves it.
at::Tensor runHook(const JsFunction& hook, const at::Tensor& gradient) {
  at::Tensor result;
  onJsThread(hook.env(), [&] {
    result = optionalTensorOf(hook.env(), hook.call({wrapTensor(hook.env(), gradient)}), "result of the hook");
  });
  return result;
}

napi_value registerHook(napi_env env, napi_callback_info info) {
  return guarded(env, "registerHook", [&]() -> napi_value {
    Args<2> a(env, info);
    deleteDeadReferences(env);
    const at::Tensor& tensor = tensorOf(env, a[0], "tensor");
    if (!tensor.requires_grad()) {
      throw JsError("UsageError", "A hook cannot be registered on a tensor that does not require gradients.",
                    "Set `tensor.requiresGrad = true` first.");
    }
    auto hook = std::make_shared<JsFunction>(env, a[1]);
    return jsInt(env, tensor.register_hook([hook](const at::Tensor& gradient) { return runHook(*hook, gradient); }));
  });
}

napi_value removeHook(napi_env env, napi_callback_info info) {
  return guarded(env, "removeHook", [&]() -> napi_value {
    Args<2> a(env, info);
    tensorOf(env, a[0], "tensor").remove_hook(static_cast<unsigned>(intOf(env, a[1], "id")));
    return jsUndefined(env);
  });
}

napi_value hasHooks(napi_env env, napi_callback_info info) {
  return guarded(env, "hasHooks", [&]() -> napi_value {
    Args<1> a(env, info);
    const at::Tensor& tensor = tensorOf(env, a[0], "tensor");
    // A tensor without gradients may have no place for hooks at all.
    return jsBool(env,
                  torch::autograd::impl::get_autograd_meta(tensor) && !torch::autograd::impl::hooks(tensor).empty());
  });
}

// ---- backward guards ----------------------------------------------------------------------------------------

std::atomic<int64_t> allowedDepth{0};

struct GuardText {
  std::string message, hint;
};

struct GuardHandle final : Object {
  explicit GuardHandle(std::shared_ptr<GuardText> t) : Object(Kind::Guard), text(std::move(t)) {}
  std::shared_ptr<GuardText> text;
};

napi_value createGuard(napi_env env, napi_callback_info info) {
  return guarded(env, "createGuard", [&]() -> napi_value {
    Args<2> a(env, info);
    auto text = std::make_shared<GuardText>();
    text->message = stringOf(env, a[0], "message");
    text->hint = stringOf(env, a[1], "hint");
    return makeExternal(env, new GuardHandle(std::move(text)));
  });
}

napi_value attachGuard(napi_env env, napi_callback_info info) {
  return guarded(env, "attachGuard", [&]() -> napi_value {
    Args<2> a(env, info);
    auto text = unwrap<GuardHandle>(env, a[0], Kind::Guard, "guard")->text;
    tensorOf(env, a[1], "tensor").register_hook([text](const at::Tensor&) {
      if (allowedDepth == 0) throw JsError("UsageError", text->message, text->hint);
      return at::Tensor();
    });
    return jsUndefined(env);
  });
}

napi_value allowGuarded(napi_env env, napi_callback_info info) {
  return guarded(env, "allowGuarded", [&]() -> napi_value {
    Args<1> a(env, info);
    allowedDepth += intOf(env, a[0], "delta");
    return jsInt(env, allowedDepth);
  });
}

// ---- gradients and modes ------------------------------------------------------------------------------------

napi_value grad(napi_env env, napi_callback_info info) {
  return guarded(env, "grad", [&]() -> napi_value {
    Args<1> a(env, info);
    const at::Tensor& tensor = tensorOf(env, a[0], "tensor");
    // Only leaves and tensors that retain theirs have a gradient; the engine warns for others.
    return tensor.is_leaf() || tensor.retains_grad() ? wrapTensor(env, tensor.grad()) : jsNull(env);
  });
}

napi_value setGrad(napi_env env, napi_callback_info info) {
  return guarded(env, "setGrad", [&]() -> napi_value {
    Args<2> a(env, info);
    const at::Tensor& tensor = tensorOf(env, a[0], "tensor");
    const at::Tensor gradient = optionalTensorOf(env, a[1], "grad");
    if (gradient.defined() && gradient.sizes() != tensor.sizes()) {
      std::ostringstream text;
      text << "The gradient has shape " << gradient.sizes() << ", but its tensor has " << tensor.sizes() << ".";
      throw JsError("TypeError", text.str());
    }
    tensor.mutable_grad() = gradient;
    return jsUndefined(env);
  });
}

napi_value setData(napi_env env, napi_callback_info info) {
  return guarded(env, "setData", [&]() -> napi_value {
    Args<2> a(env, info);
    auto* handle = unwrap<TensorHandle>(env, a[0], Kind::Tensor, "tensor");
    tensorOf(env, a[0], "tensor").set_data(tensorOf(env, a[1], "data"));
    rechargeStorage(handle);
    return jsUndefined(env);
  });
}

napi_value data(napi_env env, napi_callback_info info) {
  return guarded(env, "data", [&]() -> napi_value {
    Args<1> a(env, info);
    return wrapTensor(env, tensorOf(env, a[0], "tensor").variable_data());
  });
}

napi_value gradFnName(napi_env env, napi_callback_info info) {
  return guarded(env, "gradFnName", [&]() -> napi_value {
    Args<1> a(env, info);
    const auto& function = tensorOf(env, a[0], "tensor").grad_fn();
    return function ? jsString(env, function->name()) : jsNull(env);
  });
}

napi_value retainGrad(napi_env env, napi_callback_info info) {
  return guarded(env, "retainGrad", [&]() -> napi_value {
    Args<1> a(env, info);
    tensorOf(env, a[0], "tensor").retain_grad();
    return jsUndefined(env);
  });
}

napi_value isGradEnabled(napi_env env, napi_callback_info) {
  return guarded(env, "isGradEnabled", [&]() -> napi_value { return jsBool(env, at::GradMode::is_enabled()); });
}

napi_value setGradEnabled(napi_env env, napi_callback_info info) {
  return guarded(env, "setGradEnabled", [&]() -> napi_value {
    Args<1> a(env, info);
    at::GradMode::set_enabled(boolOf(env, a[0], "enabled"));
    return jsUndefined(env);
  });
}

// ---- forward mode -------------------------------------------------------------------------------------------

napi_value enterDualLevel(napi_env env, napi_callback_info) {
  return guarded(env, "enterDualLevel", [&]() -> napi_value {
    return jsInt(env, static_cast<int64_t>(torch::autograd::ForwardADLevel::get_next_idx()));
  });
}

napi_value exitDualLevel(napi_env env, napi_callback_info info) {
  return guarded(env, "exitDualLevel", [&]() -> napi_value {
    Args<1> a(env, info);
    torch::autograd::ForwardADLevel::release_idx(static_cast<uint64_t>(intOf(env, a[0], "level")));
    return jsUndefined(env);
  });
}

// setForwardGradEnabled(on) => what it was
napi_value setForwardGradEnabled(napi_env env, napi_callback_info info) {
  return guarded(env, "setForwardGradEnabled", [&]() -> napi_value {
    Args<1> a(env, info);
    auto& state = c10::AutogradState::get_tls_state();
    const bool before = state.get_fw_grad_mode();
    state.set_fw_grad_mode(boolOf(env, a[0], "enabled"));
    return jsBool(env, before);
  });
}

thread_local std::vector<std::unique_ptr<c10::InferenceMode>> inferenceModes;

napi_value isInferenceMode(napi_env env, napi_callback_info) {
  return guarded(env, "isInferenceMode", [&]() -> napi_value { return jsBool(env, c10::InferenceMode::is_enabled()); });
}

napi_value pushInferenceMode(napi_env env, napi_callback_info info) {
  return guarded(env, "pushInferenceMode", [&]() -> napi_value {
    Args<1> a(env, info);
    inferenceModes.push_back(std::make_unique<c10::InferenceMode>(boolOf(env, a[0], "enabled")));
    return jsUndefined(env);
  });
}

napi_value popInferenceMode(napi_env env, napi_callback_info) {
  return guarded(env, "popInferenceMode", [&]() -> napi_value {
    if (!inferenceModes.empty()) inferenceModes.pop_back();
    return jsUndefined(env);
  });
}

}  // namespace

const std::vector<Export>& autogradExports() {
  static const std::vector<Export> table = {{"backward", backward},
                                            {"gradOf", gradOf},
                                            {"registerHook", registerHook},
                                            {"removeHook", removeHook},
                                            {"hasHooks", hasHooks},
                                            {"createGuard", createGuard},
                                            {"attachGuard", attachGuard},
                                            {"allowGuarded", allowGuarded},
                                            {"grad", grad},
                                            {"enterDualLevel", enterDualLevel},
                                            {"exitDualLevel", exitDualLevel},
                                            {"setForwardGradEnabled", setForwardGradEnabled},
                                            {"setGrad", setGrad},
                                            {"setData", setData},
                                            {"data", data},
                                            {"gradFnName", gradFnName},
                                            {"retainGrad", retainGrad},
                                            {"isGradEnabled", isGradEnabled},
                                            {"setGradEnabled", setGradEnabled},
                                            {"isInferenceMode", isInferenceMode},
                                            {"pushInferenceMode", pushInferenceMode},
                                            {"popInferenceMode", popInferenceMode}};
  return table;
}

}  // namespace fabric
