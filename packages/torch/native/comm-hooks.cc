// The communication hooks of DistributedDataParallel that are native, and the way to those written in JavaScript.
#include "comm-hooks.h"

#include <unordered_map>

#include "callbacks.h"
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

class JsHook final : public c10d::CommHookInterface {
 public:
  JsHook(napi_env env, napi_value run, napi_value finish, const std::vector<at::Tensor>& parameters)
      : env_(env), run_(env, run), finish_(env, finish) {
    for (size_t i = 0; i < parameters.size(); i++)
      indices_[parameters[i].unsafeGetTensorImpl()] = static_cast<int64_t>(i);
  }

  FuturePtr runHook(c10d::GradBucket& bucket) override {
    FuturePtr result;
    onJsThread(env_, [&] { result = begin(bucket); });
    return result;
  }

  at::Tensor parseHookResult(const c10::IValue& value) override {
    at::Tensor result;
    onJsThread(env_, [&] { result = end(value.toInt()); });
    return result;
  }

 private:
  struct Waiting {
    at::Tensor buffer;
    at::Tensor result;
    std::shared_ptr<Operation> operation;
  };

  FuturePtr begin(c10d::GradBucket& bucket) {
    const auto index = static_cast<int64_t>(bucket.getIndex());
    std::vector<int64_t> indices;
    for (const auto& parameter : bucket.getParameters())
      indices.push_back(indices_.at(parameter.unsafeGetTensorImpl()));
    napi_value result =
        run_.call({jsInt(env_, index), jsBool(env_, bucket.isLast()), wrapTensor(env_, bucket.getBufferRef()),
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

  at::Tensor end(int64_t index) {
    Waiting waiting = std::move(waiting_[index]);
    waiting_.erase(index);
    at::Tensor result = waiting.result;
    if (!result.defined()) {
      waiting.operation->complete();
      result = tensorOf(env_, finish_.call({jsInt(env_, index)}), "result of the hook");
    }
    if (result.numel() != waiting.buffer.numel() || result.scalar_type() != waiting.buffer.scalar_type()) {
      throw JsError("TypeError",
                    "The communication hook gave " + describeTensor(result) + " for a bucket of " +
                        describeTensor(waiting.buffer) + ".",
                    "It has to give a tensor like `bucket.buffer()`, with the averaged gradients.");
    }
    return result.detach().contiguous().view({-1});
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
  JsFunction run_, finish_;
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
  return std::make_shared<JsHook>(env, run, finish, parameters);
}

}  // namespace fabric
