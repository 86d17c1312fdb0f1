// Gradient averaging of DistributedDataParallel: c10d's own reducer, whose hooks run in C++ inside the backward pass.
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/engine.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <sstream>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include "distributed.h"

namespace fabric {

namespace {

// Shared with the autograd graph, which may outlive the JavaScript object.
struct Averager {
  std::shared_ptr<Group> group;
  std::shared_ptr<c10d::Reducer> reducer;  // null once the group is destroyed
  std::shared_ptr<c10d::Logger> logger;    // the reducer reports to it without looking whether there is one
  std::vector<std::string> names;

  void close() {
    logger.reset();
    reducer.reset();
  }
  ~Averager() { close(); }
};

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

// ---- element types that the transport cannot add up ---------------------------------------------------------

// Averages such buckets in float32; the others as the reducer itself does.
class WideningHook final : public c10d::CommHookInterface {
 public:
  explicit WideningHook(std::shared_ptr<Group> group) : group_(std::move(group)) {}

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    const at::Tensor target = bucket.getBufferRef();
    const bool native = canReduce(*group_, target.scalar_type());
    at::Tensor sum = native ? target : target.to(at::kFloat);
    sum.div_(group_->size);
    std::vector<at::Tensor> data{sum};
    auto work = group_->transport->allreduce(data);
    return work->getFuture()->then(
        [target, sum, native](c10::ivalue::Future& future) -> c10::IValue {
          if (future.hasError()) std::rethrow_exception(future.exception_ptr());
          if (!native) target.copy_(sum);
          return target;
        },
        c10::TensorType::get());
  }

  at::Tensor parseHookResult(const c10::IValue& result) override { return result.toTensor(); }

 private:
  std::shared_ptr<Group> group_;
};

// ---- agreement on the model ---------------------------------------------------------------------------------

// One line a parameter: what must be the same on all ranks.
std::string fingerprint(const std::vector<at::Tensor>& parameters, const std::vector<std::string>& names) {
  std::ostringstream text;
  for (size_t i = 0; i < parameters.size(); i++) {
    const at::Tensor& p = parameters[i];
    text << names[i] << ": " << dtypeName(p.scalar_type()) << " " << p.sizes();
    if (!p.is_contiguous() && p.layout() == c10::kStrided) text << " with strides " << p.strides();
    text << "\n";
  }
  return text.str();
}

std::vector<at::Tensor> gatherRows(const std::shared_ptr<Group>& group, const at::Tensor& own) {
  std::vector<std::vector<at::Tensor>> outputs(1);
  for (int i = 0; i < group->size; i++) outputs[0].push_back(at::empty_like(own));
  std::vector<at::Tensor> inputs{own};
  communicate("Comparing the models of all ranks", *group,
              [&] { group->transport->allgather(outputs, inputs)->wait(); });
  std::vector<at::Tensor> rows;
  for (const auto& row : outputs[0]) rows.push_back(row.cpu());
  return rows;
}

at::Device deviceOfGroup(const Group& group, const std::vector<at::Tensor>& like) {
  return group.nccl() && !like.empty() ? like[0].device() : at::Device(at::kCPU);
}

std::vector<std::string> linesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

[[noreturn]] void throwDifferent(const std::vector<std::string>& texts) {
  const auto first = linesOf(texts[0]);
  for (size_t rank = 1; rank < texts.size(); rank++) {
    const auto other = linesOf(texts[rank]);
    for (size_t i = 0; i < std::max(first.size(), other.size()); i++) {
      const std::string a = i < first.size() ? first[i] : "nothing", b = i < other.size() ? other[i] : "nothing";
      if (a == b) continue;
      throw JsError(
          "UsageError",
          "The ranks have different models: parameter " + std::to_string(i) + " is `" + a + "` on rank 0 and `" + b +
              "` on rank " + std::to_string(rank) + " (" + std::to_string(first.size()) + " and " +
              std::to_string(other.size()) + " parameters in all).",
          "Build the same model on every rank; its layers must not depend on the rank or on unseeded choices.",
          "ERR_MODELS_DIFFER");
    }
  }
  throw JsError("UsageError", "internal: the models' fingerprints differ and their texts do not");
}

// Every rank learns of a difference, so that none waits for another that gave up.
void verifyModels(const std::shared_ptr<Group>& group, const std::vector<at::Tensor>& parameters,
                  const std::vector<std::string>& names) {
  const std::string text = fingerprint(parameters, names);
  const at::Device device = deviceOfGroup(*group, parameters);
  at::Tensor own = at::empty({2}, at::kLong);
  own[0] = static_cast<int64_t>(text.size());
  own[1] = static_cast<int64_t>(std::hash<std::string>{}(text));
  const auto rows = gatherRows(group, own.to(device));
  const bool same = std::all_of(rows.begin(), rows.end(), [&](const at::Tensor& row) { return row.equal(rows[0]); });
  if (same) return;
  int64_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row[0].item<int64_t>());
  at::Tensor bytes = at::empty({std::max<int64_t>(longest, 1)}, at::kByte).fill_(0);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  const auto all = gatherRows(group, bytes.to(device));
  std::vector<std::string> texts;
  for (size_t i = 0; i < all.size(); i++) {
    texts.emplace_back(static_cast<const char*>(all[i].data_ptr()), static_cast<size_t>(rows[i][0].item<int64_t>()));
  }
  throwDifferent(texts);
}

// Copies rank `source`'s tensors to all ranks, coalesced. Types that a transport does not know travel as bytes.
void broadcastTensors(const std::shared_ptr<Group>& group, const std::vector<at::Tensor>& tensors, size_t bufferBytes,
                      int source) {
  at::NoGradGuard noGrad;
  std::vector<at::Tensor> data;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  for (const auto& tensor : tensors) {
    at::Tensor own = tensor.detach();
    if (own.numel() == 0) continue;
    if (canReduce(*group, own.scalar_type())) {
      data.push_back(own);
      continue;
    }
    at::Tensor dense = own.contiguous();
    if (!own.is_contiguous()) copies.emplace_back(own, dense);
    data.push_back(bytesOf(dense));
  }
  if (data.empty()) return;
  communicate("Broadcasting parameters and buffers from rank " + std::to_string(source), *group,
              [&] { c10d::broadcast_coalesced(group->group, data, bufferBytes, source); });
  for (const auto& [own, dense] : copies) own.copy_(dense);
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

std::vector<std::string> namesOf(napi_env env, napi_value array) {
  uint32_t length = 0;
  check(napi_get_array_length(env, array, &length));
  std::vector<std::string> names(length);
  for (uint32_t i = 0; i < length; i++) {
    napi_value item;
    check(napi_get_element(env, array, i, &item));
    names[i] = stringOf(env, item, "names");
  }
  return names;
}

// verifyModels(group, parameters, names)
napi_value verifyModelsJs(napi_env env, napi_callback_info info) {
  return guarded(env, "verifyModels", [&]() -> napi_value {
    Args<3> a(env, info);
    at::NoGradGuard noGrad;
    verifyModels(groupOf(env, a[0]), tensorsOf(env, a[1], "parameters"), namesOf(env, a[2]));
    return jsUndefined(env);
  });
}

// broadcastTensors(group, tensors, bufferBytes, source)
napi_value broadcastTensorsJs(napi_env env, napi_callback_info info) {
  return guarded(env, "broadcastTensors", [&]() -> napi_value {
    Args<4> a(env, info);
    broadcastTensors(groupOf(env, a[0]), tensorsOf(env, a[1], "tensors"),
                     static_cast<size_t>(intOf(env, a[2], "bufferBytes")),
                     static_cast<int>(intOf(env, a[3], "source")));
    return jsUndefined(env);
  });
}

std::shared_ptr<c10d::Reducer> makeReducer(const std::shared_ptr<Group>& group,
                                           const std::vector<at::Tensor>& parameters, const std::vector<bool>& sparse,
                                           int64_t bucketBytes, bool findUnused, bool gradientAsBucketView,
                                           bool staticGraph) {
  // Without unused parameters the first iteration uses one bucket; the reducer rebuilds them in the order of gradients.
  std::vector<size_t> limits{std::numeric_limits<size_t>::max() / 2};
  if (findUnused && !staticGraph)
    limits = {static_cast<size_t>(c10d::kDefaultFirstBucketBytes), static_cast<size_t>(bucketBytes)};
  auto [buckets, bucketLimits] = c10d::compute_bucket_assignment_by_size(parameters, limits, sparse);
  std::reverse(buckets.begin(), buckets.end());
  std::reverse(bucketLimits.begin(), bucketLimits.end());
  auto reducer = compat::makeReducer<c10d::Reducer>(
      {parameters, std::move(buckets), std::move(bucketLimits), group->group, sparse, bucketBytes, findUnused,
       gradientAsBucketView, std::unordered_map<size_t, std::string>{}, c10d::kDefaultFirstBucketBytes});
  if (staticGraph) reducer->set_static_graph();
  const bool widen = std::any_of(parameters.begin(), parameters.end(),
                                 [&](const at::Tensor& p) { return !canReduce(*group, p.scalar_type()); });
  if (widen) reducer->register_comm_hook(std::make_unique<WideningHook>(group));
  return reducer;
}

// createReducer(group, parameters, names, sparse, bucketBytes, findUnused, gradientAsBucketView, staticGraph)
napi_value createReducer(napi_env env, napi_callback_info info) {
  return guarded(env, "createReducer", [&]() -> napi_value {
    Args<8> a(env, info);
    auto averager = std::make_shared<Averager>();
    averager->group = groupOf(env, a[0]);
    averager->names = namesOf(env, a[2]);
    const auto parameters = tensorsOf(env, a[1], "parameters");
    std::vector<bool> sparse;
    for (const int64_t flag : intsOf(env, a[3], "sparse")) sparse.push_back(flag != 0);
    withReducer(*averager, "Preparing gradient averaging", [&] {
      averager->reducer = makeReducer(averager->group, parameters, sparse, intOf(env, a[4], "bucketBytes"),
                                      boolOf(env, a[5], "findUnused"), boolOf(env, a[6], "gradientAsBucketView"),
                                      boolOf(env, a[7], "staticGraph"));
      averager->logger = std::make_shared<c10d::Logger>(averager->reducer);
      averager->reducer->set_logger(averager->logger);
    });
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
  static const std::vector<Export> table = {{"verifyModels", verifyModelsJs},
                                            {"broadcastTensors", broadcastTensorsJs},
                                            {"createReducer", createReducer},
                                            {"reducerBeforeForward", reducerBeforeForward},
                                            {"reducerBeforeBackward", reducerBeforeBackward},
                                            {"reducerSink", reducerSink}};
  return table;
}

}  // namespace fabric
