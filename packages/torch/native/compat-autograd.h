// What differs between LibTorch versions in the autograd engine: how nodes are held, and how the outputs of a custom
// function are connected. Told by types, not by version numbers.
#pragma once

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/function.h>

#include <memory>
#include <type_traits>
#include <unordered_set>

namespace fabric::compat {

using torch::autograd::Node;

// std::shared_ptr<Node>, and in newer versions an intrusive pointer.
using NodePtr = std::decay_t<decltype(std::declval<const at::Tensor&>().grad_fn())>;
constexpr bool kSharedNodes = std::is_same_v<NodePtr, std::shared_ptr<Node>>;

template <typename T>
using PtrTo = std::conditional_t<kSharedNodes, std::shared_ptr<T>, c10::intrusive_ptr<T>>;

template <typename T, typename... Args>
PtrTo<T> makeNode(Args&&... args) {
  // Long chains of nodes are taken apart one by one, not recursively.
  if constexpr (kSharedNodes) return PtrTo<T>(new T(std::forward<Args>(args)...), torch::autograd::deleteNode);
  if constexpr (!kSharedNodes) return c10::make_intrusive<T>(std::forward<Args>(args)...);
}

template <typename T, typename Ptr = NodePtr>
Ptr pointerTo(T* node) {
  if constexpr (kSharedNodes) return node->shared_from_this();
  if constexpr (!kSharedNodes) return Ptr::reclaim_copy(node);
}

using Impls = std::unordered_set<at::TensorImpl*>;
using Outputs = torch::autograd::optional_variable_list;
using torch::autograd::_jvp_fn_t;

template <typename... Rest>
using WrapOutputs = Outputs (*)(const torch::autograd::variable_list&, const Impls&, const Impls&,
                                const at::ArrayRef<Outputs::value_type>, const NodePtr&, Rest...);

using ViewAsSelf = std::function<at::Tensor(at::Tensor)>;

// One overload for each list of parameters that `_wrap_outputs` has had.
template <typename... Args>
Outputs callWrap(WrapOutputs<_jvp_fn_t> wrap, const _jvp_fn_t& jvp, Args&... args) {
  return wrap(args..., jvp);
}
template <typename... Args>
Outputs callWrap(WrapOutputs<_jvp_fn_t, const Impls&> wrap, const _jvp_fn_t& jvp, Args&... args) {
  return wrap(args..., jvp, {});
}
template <typename... Args>
Outputs callWrap(WrapOutputs<const _jvp_fn_t&, const Impls&> wrap, const _jvp_fn_t& jvp, Args&... args) {
  return wrap(args..., jvp, {});
}
template <typename... Args>
Outputs callWrap(WrapOutputs<const _jvp_fn_t&, const Impls&, const ViewAsSelf&> wrap, const _jvp_fn_t& jvp,
                 Args&... args) {
  return wrap(args..., jvp, {}, [](at::Tensor x) { return x.view_as(x); });
}
template <typename... Args>
Outputs callWrap(WrapOutputs<const _jvp_fn_t&, const Impls&, const ViewAsSelf&, bool> wrap, const _jvp_fn_t& jvp,
                 Args&... args) {
  return wrap(
      args..., jvp, {}, [](at::Tensor x) { return x.view_as(x); }, false);
}

inline Outputs wrapOutputs(const torch::autograd::variable_list& inputs, const Impls& constant, const Impls& dirty,
                           const Outputs& raw, const NodePtr& node, const _jvp_fn_t& jvp) {
  return callWrap(&torch::autograd::_wrap_outputs, jvp, inputs, constant, dirty, raw, node);
}

}  // namespace fabric::compat
