// The communication hooks of DistributedDataParallel that are native, and the way to those written in JavaScript.
#include "comm-hooks.h"

#include <mutex>
#include <thread>
#include <unordered_map>

#include "collectives.h"

namespace fabric {

namespace {

using FuturePtr = c10::intrusive_ptr<c10::ivalue::Future>;

// ---- native hooks -------------------------------------------------------------------------------------------

FuturePtr allReduceFuture(const Group& group, at::Tensor sum) {
  Tensors data{std::move(sum)};
  return group.transport->allreduce(data)->getFuture();
}

class WideningHook final : public c10d::CommHookInterface {
 public:
  explicit WideningHook(std::shared_ptr<Group> group) : group_(std::move(group)) {}

  FuturePtr runHook(c10d::GradBucket& bucket) override {
    const at::Tensor target = bucket.getBufferRef();
    const bool native = canReduce(*group_, target.scalar_type());
    at::Tensor sum = native ? target : target.to(at::kFloat);
    sum.div_(group_->size);
    return allReduceFuture(*group_, sum)
        ->then(
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

// Up to this many ranks, gathering 16-bit gradients moves less than reducing 32-bit ones.
constexpr int kGatherAtMost = 4;

class CompressionHook final : public c10d::CommHookInterface {
 public:
  CompressionHook(std::shared_ptr<Group> group, at::ScalarType type) : group_(std::move(group)), type_(type) {}

  FuturePtr runHook(c10d::GradBucket& bucket) override {
    const at::Tensor target = bucket.getBufferRef();
    const at::Tensor packed = target.to(type_).div_(group_->size);
    if (canReduce(*group_, type_)) return reduced(target, packed);
    if (group_->size > kGatherAtMost) return reduced(target, packed.to(at::kFloat));
    return gathered(target, packed);
  }
  at::Tensor parseHookResult(const c10::IValue& result) override { return result.toTensor(); }

 private:
  FuturePtr reduced(const at::Tensor& target, const at::Tensor& sum) {
    return allReduceFuture(*group_, sum)
        ->then(
            [target, sum](c10::ivalue::Future& future) -> c10::IValue {
              if (future.hasError()) std::rethrow_exception(future.exception_ptr());
              target.copy_(sum);
              return target;
            },
            c10::TensorType::get());
  }

  // For a type that the transport cannot add up: every rank gets all parts as bytes and adds them up in float32.
  FuturePtr gathered(const at::Tensor& target, const at::Tensor& packed) {
    const at::Tensor rows = at::empty({group_->size, packed.numel()}, packed.options());
    std::vector<Tensors> outputs(1);
    for (const auto& row : rows.unbind(0)) outputs[0].push_back(bytesOf(row));
    Tensors inputs{bytesOf(packed)};
    return group_->transport->allgather(outputs, inputs)
        ->getFuture()
        ->then(
            [target, rows, packed](c10::ivalue::Future& future) -> c10::IValue {
              if (future.hasError()) std::rethrow_exception(future.exception_ptr());
              target.copy_(rows.to(at::kFloat).sum(0).to(packed.scalar_type()));
              return target;
            },
            c10::TensorType::get());
  }

  std::shared_ptr<Group> group_;
  at::ScalarType type_;
};

// ---- hooks in JavaScript ------------------------------------------------------------------------------------

// References of hooks that died where JavaScript could not be entered.
std::mutex deadMutex;
std::vector<std::pair<napi_env, napi_ref>> deadReferences;

void deleteDeadReferences(napi_env env) {
  const std::lock_guard<std::mutex> lock(deadMutex);
  for (size_t i = deadReferences.size(); i-- > 0;) {
    if (deadReferences[i].first != env) continue;
    napi_delete_reference(env, deadReferences[i].second);
    deadReferences.erase(deadReferences.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

// The JavaScript error stays pending in the environment while this goes through the engine.
struct HookThrew : std::runtime_error {
  HookThrew() : std::runtime_error("a communication hook threw") {}
};

struct Scope {
  explicit Scope(napi_env env) : env(env) { check(napi_open_handle_scope(env, &scope)); }
  ~Scope() { napi_close_handle_scope(env, scope); }
  napi_env env;
  napi_handle_scope scope = nullptr;
};

class JsHook final : public c10d::CommHookInterface {
 public:
  JsHook(napi_env env, napi_value run, napi_value finish, std::vector<at::Tensor> parameters) : env_(env) {
    for (size_t i = 0; i < parameters.size(); i++)
      indices_[parameters[i].unsafeGetTensorImpl()] = static_cast<int64_t>(i);
    check(napi_create_reference(env, run, 1, &run_));
    check(napi_create_reference(env, finish, 1, &finish_));
  }
  ~JsHook() override {
    const std::lock_guard<std::mutex> lock(deadMutex);
    for (const napi_ref reference : {run_, finish_}) deadReferences.emplace_back(env_, reference);
  }

  FuturePtr runHook(c10d::GradBucket& bucket) override {
    needJsThread();
    Scope scope(env_);
    const auto index = static_cast<int64_t>(bucket.getIndex());
    std::vector<int64_t> indices;
    for (const auto& parameter : bucket.getParameters())
      indices.push_back(indices_.at(parameter.unsafeGetTensorImpl()));
    napi_value result =
        call(run_, {jsInt(env_, index), jsBool(env_, bucket.isLast()), wrapTensor(env_, bucket.getBufferRef()),
                    wrapTensors(env_, bucket.getGradients()), jsInts(env_, indices)});
    napi_value tensor, work;
    check(napi_get_element(env_, result, 0, &tensor));
    check(napi_get_element(env_, result, 1, &work));
    Waiting& waiting = waiting_[index];
    waiting.buffer = bucket.getBufferRef();
    waiting.result = optionalTensorOf(env_, tensor, "result of the hook");
    if (!waiting.result.defined()) waiting.operation = unwrap<WorkObject>(env_, work, Kind::Work, "work")->operation;
    return futureOf(waiting.operation, index);
  }

  at::Tensor parseHookResult(const c10::IValue& value) override {
    needJsThread();
    const int64_t index = value.toInt();
    Waiting waiting = std::move(waiting_[index]);
    waiting_.erase(index);
    at::Tensor result = waiting.result;
    if (!result.defined()) {
      Scope scope(env_);
      waiting.operation->complete();
      result = tensorOf(env_, call(finish_, {jsInt(env_, index)}), "result of the hook");
    }
    if (result.numel() != waiting.buffer.numel() || result.scalar_type() != waiting.buffer.scalar_type()) {
      throw JsError("TypeError",
                    "The communication hook gave " + describeTensor(result) + " for a bucket of " +
                        describeTensor(waiting.buffer) + ".",
                    "It has to give a tensor like `bucket.buffer()`, with the averaged gradients.");
    }
    return result.detach().contiguous().view({-1});
  }

 private:
  struct Waiting {
    at::Tensor buffer;
    at::Tensor result;
    std::shared_ptr<Operation> operation;
  };

  void needJsThread() const {
    if (std::this_thread::get_id() == envData(env_).thread) return;
    throw JsError(
        "NotSupportedError",
        "A communication hook written in JavaScript cannot run here: CUDA's backward passes run on other threads.",
        "Use `fp16CompressHook` or `bf16CompressHook`, which are native.");
  }

  napi_value call(napi_ref reference, const std::vector<napi_value>& args) {
    napi_value function, receiver, result;
    check(napi_get_reference_value(env_, reference, &function));
    check(napi_get_undefined(env_, &receiver));
    if (napi_call_function(env_, receiver, function, args.size(), args.data(), &result) != napi_ok) throw HookThrew();
    return result;
  }

  static FuturePtr futureOf(const std::shared_ptr<Operation>& operation, int64_t index) {
    if (operation && operation->work && operation->hasFuture) {
      return operation->work->getFuture()->then(
          [index](c10::ivalue::Future& future) -> c10::IValue {
            if (future.hasError()) std::rethrow_exception(future.exception_ptr());
            return index;
          },
          c10::IntType::get());
    }
    if (operation) waitForOperation(operation);
    auto done = c10::make_intrusive<c10::ivalue::Future>(c10::IntType::get());
    done->markCompleted(index);
    return done;
  }

  napi_env env_;
  napi_ref run_ = nullptr, finish_ = nullptr;
  std::unordered_map<const c10::TensorImpl*, int64_t> indices_;
  std::unordered_map<int64_t, Waiting> waiting_;
};

}  // namespace

std::shared_ptr<c10d::CommHookInterface> makeWideningHook(std::shared_ptr<Group> group) {
  return std::make_shared<WideningHook>(std::move(group));
}

std::shared_ptr<c10d::CommHookInterface> makeCompressionHook(std::shared_ptr<Group> group, at::ScalarType type) {
  return std::make_shared<CompressionHook>(std::move(group), type);
}

std::shared_ptr<c10d::CommHookInterface> makeJsHook(napi_env env, napi_value run, napi_value finish,
                                                    std::vector<at::Tensor> parameters) {
  deleteDeadReferences(env);
  return std::make_shared<JsHook>(env, run, finish, std::move(parameters));
}

}  // namespace fabric
