// Gradient averaging of DistributedDataParallel: c10d's own reducer, whose hooks run in C++ inside the backward pass.
#include "reducer.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/engine.h>

#include <algorithm>
#include <limits>
#include <sstream>

namespace fabric {

namespace {

struct ReducerObject final : Object {
  explicit ReducerObject(std::shared_ptr<Averager> averager) : Object(Kind::Reducer), averager(std::move(averager)) {}
  std::shared_ptr<Averager> averager;
};

std::shared_ptr<Averager> averagerOf(napi_env env, napi_value value) {
  auto averager = unwrap<ReducerObject>(env, value, Kind::Reducer, "reducer")->averager;
  if (!averager->reducer) {
    throw JsError("UsageError", "The process group of this DistributedDataParallel module has been destroyed.",
                  "Train before `destroyProcessGroup()`, or wrap the module again after a new `initProcessGroup()`.",
                  "ERR_GROUP_DESTROYED");
  }
  return averager;
}

// ---- errors of the reducer ----------------------------------------------------------------------------------

// "`layer2.weight`, `layer2.bias`" for the indices in "... for rank 0: 2 3".
std::string unreducedNames(const std::string& text, const std::vector<std::string>& names) {
  const size_t at = text.find("did not receive grad for rank");
  const size_t colon = at == std::string::npos ? at : text.find(':', at);
  if (colon == std::string::npos) return "";
  std::istringstream numbers(text.substr(colon + 1));
  std::string result;
  size_t shown = 0;
  for (size_t index; numbers >> index; shown++) {
    if (index >= names.size() || shown == 5) return result + ", ...";
    result += (shown ? ", `" : "`") + names[index] + "`";
  }
  return result;
}

// Runs a call of the reducer with errors that say what to do.
void withReducer(const Averager& averager, const std::string& what, const std::function<void()>& body) {
  try {
    body();
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    if (text.find("Expected to have finished reduction in the prior iteration") != std::string::npos) {
      const std::string names = unreducedNames(text, averager.names);
      throw JsError(
          "UsageError",
          "The previous backward pass did not produce gradients for all parameters, so they were never averaged over "
          "the processes" +
              (names.empty() ? std::string(".") : ": " + names + " had no part in the loss."),
          "Use all outputs of the model's forward in the loss, pass `findUnusedParameters: true` to "
          "DistributedDataParallel, or set `requiresGrad = false` on parameters that are not trained. If forward ran "
          "without backward, run it under `noGrad()` or `noSync()`.",
          "ERR_UNUSED_PARAMETERS");
    }
    throw JsError("TorchError", text);
  } catch (const JsError&) {
    throw;
  } catch (...) {
    throw communicationError(std::current_exception(), what, *averager.group);
  }
}

// ---- exports ------------------------------------------------------------------------------------------------

std::shared_ptr<c10d::Reducer> makeReducer(const std::shared_ptr<Group>& group,
                                           const std::vector<at::Tensor>& parameters, const std::vector<bool>& sparse,
                                           int64_t bucketBytes, bool findUnused, bool gradientAsBucketView,
                                           bool staticGraph) {
  // Small first, so that its averaging starts early.
  const int64_t firstBytes = std::min<int64_t>(c10d::kDefaultFirstBucketBytes, bucketBytes);
  // Without unused parameters the first iteration uses one bucket; the reducer rebuilds them in the order of gradients.
  std::vector<size_t> limits{std::numeric_limits<size_t>::max() / 2};
  if (findUnused && !staticGraph) limits = {static_cast<size_t>(firstBytes), static_cast<size_t>(bucketBytes)};
  auto [buckets, bucketLimits] = c10d::compute_bucket_assignment_by_size(parameters, limits, sparse);
  std::reverse(buckets.begin(), buckets.end());
  std::reverse(bucketLimits.begin(), bucketLimits.end());
  auto reducer = compat::makeReducer<c10d::Reducer>(
      {parameters, std::move(buckets), std::move(bucketLimits), group->group, sparse, bucketBytes, findUnused,
       gradientAsBucketView, std::unordered_map<size_t, std::string>{}, firstBytes});
  if (staticGraph) reducer->set_static_graph();
  return reducer;
}

void setHook(Averager& averager, std::shared_ptr<c10d::CommHookInterface> hook) {
  if (averager.hook) {
    averager.hook->replace(std::move(hook));
    return;
  }
  auto slot = std::make_unique<CommHookSlot>(std::move(hook));
  averager.hook = slot.get();
  averager.reducer->register_comm_hook(std::move(slot));
}

bool needsWidening(const Averager& averager) {
  return std::any_of(averager.parameters.begin(), averager.parameters.end(),
                     [&](const at::Tensor& p) { return !canReduce(*averager.group, p.scalar_type()); });
}

// createReducer(group, parameters, names, sparse, bucketBytes, findUnused, gradientAsBucketView, staticGraph)
napi_value createReducer(napi_env env, napi_callback_info info) {
  return guarded(env, "createReducer", [&]() -> napi_value {
    Args<8> a(env, info);
    auto averager = std::make_shared<Averager>();
    averager->group = groupOf(env, a[0]);
    averager->names = namesOf(env, a[2]);
    averager->parameters = tensorsOf(env, a[1], "parameters");
    std::vector<bool> sparse;
    for (const int64_t flag : intsOf(env, a[3], "sparse")) sparse.push_back(flag != 0);
    averager->sparse = std::find(sparse.begin(), sparse.end(), true) != sparse.end();
    const bool staticGraph = boolOf(env, a[7], "staticGraph");
    withReducer(*averager, "Preparing gradient averaging", [&] {
      averager->reducer =
          makeReducer(averager->group, averager->parameters, sparse, intOf(env, a[4], "bucketBytes"),
                      boolOf(env, a[5], "findUnused"), boolOf(env, a[6], "gradientAsBucketView"), staticGraph);
      averager->logger = std::make_shared<c10d::Logger>(averager->reducer);
      averager->reducer->set_logger(averager->logger);
      if (needsWidening(*averager)) setHook(*averager, makeWideningHook(averager->group));
    });
    if (averager->group->size > 1) {
      averager->watch =
          std::make_unique<GradientWatch>(averager->parameters, averager->names, staticGraph, averager->group->flight);
    }
    averager->group->closers.push_back([weak = std::weak_ptr<Averager>(averager)] {
      if (const auto open = weak.lock()) open->close();
    });
    return makeExternal(env, new ReducerObject(std::move(averager)));
  });
}

// reducerBeforeForward(reducer, synced): `synced` when this pass' gradients are to be averaged.
napi_value reducerBeforeForward(napi_env env, napi_callback_info info) {
  return guarded(env, "reducerBeforeForward", [&]() -> napi_value {
    Args<2> a(env, info);
    const auto averager = averagerOf(env, a[0]);
    const bool synced = boolOf(env, a[1], "synced");
    withReducer(*averager, "Agreeing on the order of gradients", [&] {
      if (synced) averager->reducer->prepare_for_forward();
      averager->reducer->rebuild_buckets();
    });
    if (!synced && averager->watch) averager->watch->called(false);
    return jsUndefined(env);
  });
}

// reducerBeforeBackward(reducer, outputs): the next backward averages. `outputs` only when unused parameters are looked
// for.
napi_value reducerBeforeBackward(napi_env env, napi_callback_info info) {
  return guarded(env, "reducerBeforeBackward", [&]() -> napi_value {
    Args<2> a(env, info);
    const auto averager = averagerOf(env, a[0]);
    const auto outputs = tensorsOf(env, a[1], "outputs");
    withReducer(*averager, "Preparing the backward pass", [&] { averager->reducer->prepare_for_backward(outputs); });
    if (averager->watch) averager->watch->called(true);
    return jsUndefined(env);
  });
}

// reducerAllowLocal(reducer, delta): 1 on entering `noSync`, -1 on leaving it. Nothing once the group is destroyed.
napi_value reducerAllowLocal(napi_env env, napi_callback_info info) {
  return guarded(env, "reducerAllowLocal", [&]() -> napi_value {
    Args<2> a(env, info);
    const auto& averager = unwrap<ReducerObject>(env, a[0], Kind::Reducer, "reducer")->averager;
    if (averager->watch) averager->watch->allowLocal(static_cast<int>(intOf(env, a[1], "delta")));
    return jsUndefined(env);
  });
}

// reducerCommHook(reducer, kind, run, finish): `kind` is "fp16", "bf16", or "js" with two functions.
napi_value reducerCommHook(napi_env env, napi_callback_info info) {
  return guarded(env, "reducerCommHook", [&]() -> napi_value {
    Args<4> a(env, info);
    const auto averager = averagerOf(env, a[0]);
    const std::string kind = stringOf(env, a[1], "kind");
    if (averager->sparse) {
      throw JsError("NotSupportedError", "Communication hooks do not work with sparse gradients.",
                    "Make the embeddings with `sparse: false`.");
    }
    std::shared_ptr<c10d::CommHookInterface> hook;
    if (kind == "js")
      hook = makeJsHook(env, a[2], a[3], averager->parameters);
    else
      hook = makeCompressionHook(averager->group, kind == "fp16" ? at::kHalf : at::kBFloat16);
    withReducer(*averager, "Registering the communication hook", [&] { setHook(*averager, std::move(hook)); });
    return jsUndefined(env);
  });
}

struct AveragerCapsule : torch::CustomClassHolder {
  explicit AveragerCapsule(std::shared_ptr<Averager> averager) : averager(std::move(averager)) {}
  std::shared_ptr<Averager> averager;
};

// Outputs pass through here so that those without part in the loss bring an undefined gradient to the reducer, not an
// error; on the first pass over a static graph it also delays the reduction until all gradients are there.
struct SinkFunction : torch::autograd::Function<SinkFunction> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const c10::intrusive_ptr<AveragerCapsule>& averager, bool delay,
                                                at::TensorList outputs) {
    context->set_materialize_grads(false);
    context->saved_data["averager"] = c10::IValue::make_capsule(averager);
    context->saved_data["delay"] = delay;
    torch::autograd::variable_list results;
    for (const auto& output : outputs) results.push_back(output.clone());
    return results;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    if (context->saved_data["delay"].toBool()) {
      const auto capsule = context->saved_data["averager"].toCapsule();
      const auto reducer = static_cast<AveragerCapsule*>(capsule.get())->averager->reducer;
      torch::autograd::Engine::get_default_engine().queue_callback([reducer] {
        if (reducer) reducer->delay_all_reduce();
      });
    }
    torch::autograd::variable_list result{at::Tensor(), at::Tensor()};
    result.insert(result.end(), gradients.begin(), gradients.end());
    return result;
  }
};

// reducerSink(reducer, outputs, delay) => outputs
napi_value reducerSink(napi_env env, napi_callback_info info) {
  return guarded(env, "reducerSink", [&]() -> napi_value {
    Args<3> a(env, info);
    auto capsule = c10::make_intrusive<AveragerCapsule>(averagerOf(env, a[0]));
    const auto outputs = tensorsOf(env, a[1], "outputs");
    return wrapTensors(env, SinkFunction::apply(capsule, boolOf(env, a[2], "delay"), at::TensorList(outputs)));
  });
}

}  // namespace

const std::vector<Export>& reducerExports() {
  static const std::vector<Export> table = [] {
    std::vector<Export> all = {{"createReducer", createReducer},
                               {"reducerBeforeForward", reducerBeforeForward},
                               {"reducerBeforeBackward", reducerBeforeBackward},
                               {"reducerAllowLocal", reducerAllowLocal},
                               {"reducerCommHook", reducerCommHook},
                               {"reducerSink", reducerSink}};
    const auto& agreement = modelAgreementExports();
    all.insert(all.end(), agreement.begin(), agreement.end());
    return all;
  }();
  return table;
}

}  // namespace fabric
