// Gradients through all-gather: what was gathered from all ranks as a function of this rank's own part.
#include <torch/csrc/autograd/custom_function.h>

#include "collectives.h"

namespace fabric {

namespace {

struct Gathered : torch::CustomClassHolder {
  Gathered(std::shared_ptr<Group> group, at::Tensor rows) : group(std::move(group)), rows(std::move(rows)) {}
  std::shared_ptr<Group> group;
  at::Tensor rows;
};

// Makes rows that were gathered from all ranks a function of this rank's own. Backward sums the gradients of all ranks.
struct GatherFunction : torch::autograd::Function<GatherFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor&,
                            const c10::intrusive_ptr<Gathered>& gathered) {
    context->saved_data["group"] = c10::IValue::make_capsule(gathered);
    return std::move(gathered->rows);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto capsule = context->saved_data["group"].toCapsule();
    const auto group = static_cast<Gathered*>(capsule.get())->group;
    const at::Tensor sum = gradients[0].contiguous().clone();
    allReduceBlocking(group, sum, "sum");
    return {sum[group->rank], at::Tensor()};
  }
};

// attachGather(group, input, rows) => rows with the gradient function of the gather
napi_value attachGather(napi_env env, napi_callback_info info) {
  return guarded(env, "attachGather", [&]() -> napi_value {
    Args<3> a(env, info);
    auto gathered = c10::make_intrusive<Gathered>(groupOf(env, a[0]), tensorOf(env, a[2], "rows").detach());
    return wrapTensor(env, GatherFunction::apply(tensorOf(env, a[1], "input"), gathered));
  });
}

}  // namespace

void allReduceBlocking(const std::shared_ptr<Group>& group, const at::Tensor& tensor, const std::string& op) {
  if (!group->transport) {
    throw JsError("UsageError", "The process group \"" + group->name + "\" has been destroyed.", "",
                  "ERR_GROUP_DESTROYED");
  }
  Call call;
  call.outputs = {tensor};
  call.op = op;
  waitForOperation(startCollective(group, "allReduce", call));
}

const std::vector<Export>& gatherGradientExports() {
  static const std::vector<Export> table = {{"attachGather", attachGather}};
  return table;
}

}  // namespace fabric
