// Collectives over a process group. Each starts at once and returns a work to wait for. What a transport cannot do
// itself (averages, reduce-scatter, some element types) is done here around what it can, the same way on every
// LibTorch.
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_or.h>
#include <ATen/ops/bitwise_xor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/view_as_real.h>
#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

#include "distributed.h"

namespace fabric {

at::Tensor bytesOf(const at::Tensor& tensor) { return tensor.detach().view({-1}).view(at::kByte); }

bool canReduce(const Group& group, at::ScalarType type) {
  switch (type) {
    case at::kFloat:
    case at::kDouble:
    case at::kHalf:
    case at::kChar:
    case at::kByte:
    case at::kInt:
    case at::kLong:
      return true;
    case at::kBFloat16:
      return group.nccl();
    default:
      return false;
  }
}

void Operation::complete() {
  at::NoGradGuard noGrad;
  if (work) {
    if (!waited) work->wait();  // has ended; for device tensors this orders the current stream after it
    if (fromAny && !group->nccl()) source = work->sourceRank();
    work.reset();
  }
  for (auto& step : after) step();
  after.clear();
  buffers.clear();
}

void Operation::waitHere() {
  communicate(what, *group, [&] {
    if (work) work->wait();
  });
  waited = true;
  complete();
}

namespace {

using ReduceKind = c10d::ReduceOp::RedOpType;

struct WorkObject final : Object {
  explicit WorkObject(std::shared_ptr<Operation> operation) : Object(Kind::Work), operation(std::move(operation)) {}
  std::shared_ptr<Operation> operation;
};

std::string describeTensor(const at::Tensor& tensor) {
  std::string text = std::string(dtypeName(tensor.scalar_type())) + " [";
  for (int64_t i = 0; i < tensor.dim(); i++) text += (i ? ", " : "") + std::to_string(tensor.size(i));
  return text + "]";
}

// ---- staging ------------------------------------------------------------------------------------------------

// A contiguous tensor with the same elements, to be read only.
at::Tensor readable(Operation& operation, const at::Tensor& tensor) {
  at::Tensor dense = tensor.detach().resolve_conj().resolve_neg().contiguous();
  operation.buffers.push_back(dense);
  return dense;
}

// A contiguous tensor whose elements arrive in `tensor` when the operation is done.
at::Tensor writable(Operation& operation, const at::Tensor& tensor) {
  at::Tensor own = tensor.detach();
  at::Tensor dense = own.resolve_conj().resolve_neg().contiguous();
  operation.buffers.push_back(dense);
  if (!dense.is_alias_of(own) || !own.is_contiguous()) {
    operation.after.push_back([own, dense] { own.copy_(dense); });
  }
  return dense;
}

// ---- reductions ---------------------------------------------------------------------------------------------

struct Reduction {
  ReduceKind kind = ReduceKind::SUM;
  bool average = false;
};

Reduction reductionOf(const std::string& name, at::ScalarType type, const std::string& what) {
  static const std::pair<const char*, ReduceKind> kinds[] = {
      {"sum", ReduceKind::SUM},         {"avg", ReduceKind::SUM}, {"mean", ReduceKind::SUM},
      {"product", ReduceKind::PRODUCT}, {"min", ReduceKind::MIN}, {"max", ReduceKind::MAX},
      {"band", ReduceKind::BAND},       {"bor", ReduceKind::BOR}, {"bxor", ReduceKind::BXOR}};
  for (const auto& [known, kind] : kinds) {
    if (name != known) continue;
    const bool bitwise = kind == ReduceKind::BAND || kind == ReduceKind::BOR || kind == ReduceKind::BXOR;
    const bool average = name == "avg" || name == "mean";
    if (bitwise && !at::isIntegralType(type, true)) {
      throw JsError("TypeError", what + " with op \"" + name + "\" needs integers or booleans.");
    }
    if (at::isComplexType(type) && kind != ReduceKind::SUM) {
      throw JsError("TypeError", what + " with op \"" + name + "\" has no meaning for complex numbers.");
    }
    if (average && type == at::kBool) {
      throw JsError("TypeError", what + ": booleans have no average.", "Convert the tensor with `.float()` first.");
    }
    return {kind, average};
  }
  throw JsError("TypeError", what + " got the op \"" + name + "\".",
                "Choose \"sum\", \"avg\", \"product\", \"min\", \"max\", \"band\", \"bor\" or \"bxor\".");
}

// The type in which elements are added up. bfloat16 goes through float32: one rounding, however many ranks there are.
at::ScalarType computeType(const Group& group, at::ScalarType type) {
  if (type == at::kBool) return at::kByte;
  if (canReduce(group, type)) return type;
  if (type == at::kBFloat16) return at::kFloat;
  if (type == at::kShort) return at::kInt;
  throw JsError("NotSupportedError",
                std::string("Tensors of type ") + dtypeName(type) + " cannot be reduced over processes.",
                "Convert the tensor to float32, float64, int32 or int64 first.");
}

// On zeros and ones, adding is "or" (without overflow) and multiplying is "and".
ReduceKind kindForBytes(ReduceKind kind) {
  if (kind == ReduceKind::SUM || kind == ReduceKind::BOR) return ReduceKind::MAX;
  if (kind == ReduceKind::PRODUCT || kind == ReduceKind::BAND) return ReduceKind::MIN;
  return kind;
}

// Integers: the quotient is computed in floating point and truncated toward zero, as PyTorch's in-place copy does.
void divideInPlace(const at::Tensor& sum, int size) {
  if (at::isIntegralType(sum.scalar_type(), false))
    sum.copy_(at::div(sum.to(at::kDouble), size));
  else
    sum.div_(size);
}

struct Staged {
  at::Tensor buffer;
  ReduceKind kind;
};

// What to reduce in place of `tensor`; the result arrives in `tensor` when the operation is done.
Staged stageReduction(Operation& operation, const at::Tensor& tensor, const Reduction& reduction) {
  const Group& group = *operation.group;
  at::Tensor target = writable(operation, tensor);
  if (target.is_complex()) target = at::view_as_real(target);
  const at::ScalarType type = target.scalar_type();
  const at::ScalarType compute = computeType(group, type);
  at::Tensor buffer = type == at::kBool ? bytesOf(target) : target.to(compute);
  std::vector<std::function<void()>> finish;
  if (reduction.average) finish.push_back([buffer, size = group.size] { divideInPlace(buffer, size); });
  if (!buffer.is_alias_of(target)) finish.push_back([target, buffer] { target.copy_(buffer); });
  // Before the copy into a tensor that is not contiguous.
  operation.after.insert(operation.after.begin(), finish.begin(), finish.end());
  operation.buffers.push_back(buffer);
  return {buffer, type == at::kBool ? kindForBytes(reduction.kind) : reduction.kind};
}

// Reduces dimension 0 in the order of the ranks.
at::Tensor reduceRows(const at::Tensor& rows, ReduceKind kind) {
  at::Tensor result = rows[0].clone();
  for (int64_t i = 1; i < rows.size(0); i++) {
    const at::Tensor row = rows[i];
    switch (kind) {
      case ReduceKind::SUM:
        result.add_(row);
        break;
      case ReduceKind::PRODUCT:
        result.mul_(row);
        break;
      case ReduceKind::MIN:
        result = at::minimum(result, row);
        break;
      case ReduceKind::MAX:
        result = at::maximum(result, row);
        break;
      case ReduceKind::BAND:
        result = at::bitwise_and(result, row);
        break;
      case ReduceKind::BOR:
        result = at::bitwise_or(result, row);
        break;
      default:
        result = at::bitwise_xor(result, row);
        break;
    }
  }
  return result;
}

// ---- the collectives ----------------------------------------------------------------------------------------

// The arguments of every collective; each uses what concerns it.
struct Call {
  std::vector<at::Tensor> outputs;
  std::vector<at::Tensor> inputs;
  std::string op;
  int peer = 0;  // source, destination or root, as a rank of the group
  int tag = 0;
};

using Tensors = std::vector<at::Tensor>;

void needCount(const Operation& operation, const char* what, size_t have, size_t want) {
  if (have == want) return;
  throw JsError("TypeError", operation.what + " needs " + std::to_string(want) + " " + what +
                                 ", one for each rank, but got " + std::to_string(have) + ".");
}

void needSame(const Operation& operation, const at::Tensor& tensor, const at::Tensor& like) {
  if (tensor.sizes() == like.sizes() && tensor.scalar_type() == like.scalar_type()) return;
  throw JsError(
      "TypeError",
      operation.what + " got a tensor of " + describeTensor(tensor) + " next to one of " + describeTensor(like) + ".",
      "All of them must have the same shape and dtype.");
}

void broadcast(Operation& operation, const Call& call) {
  const at::Tensor& tensor = call.outputs.at(0);
  c10d::BroadcastOptions options;
  options.rootRank = call.peer;
  Tensors data{bytesOf(writable(operation, tensor))};
  if (tensor.numel() > 0) operation.work = operation.group->transport->broadcast(data, options);
}

void allReduce(Operation& operation, const Call& call) {
  const at::Tensor& tensor = call.outputs.at(0);
  const Reduction reduction = reductionOf(call.op, tensor.scalar_type(), operation.what);
  const Staged staged = stageReduction(operation, tensor, reduction);
  c10d::AllreduceOptions options;
  options.reduceOp = staged.kind;
  Tensors data{staged.buffer};
  if (tensor.numel() > 0) operation.work = operation.group->transport->allreduce(data, options);
}

void reduce(Operation& operation, const Call& call) {
  const Group& group = *operation.group;
  // Transports leave partial results on the other ranks: give them a copy to spoil.
  const at::Tensor tensor = group.rank == call.peer ? call.outputs.at(0) : call.outputs.at(0).detach().clone();
  const Reduction reduction = reductionOf(call.op, tensor.scalar_type(), operation.what);
  const Staged staged = stageReduction(operation, tensor, reduction);
  c10d::ReduceOptions options;
  options.reduceOp = staged.kind;
  options.rootRank = call.peer;
  Tensors data{staged.buffer};
  if (tensor.numel() > 0) operation.work = group.transport->reduce(data, options);
}

// outputs[0] has a leading dimension of the group's size.
void allGather(Operation& operation, const Call& call) {
  const Group& group = *operation.group;
  needCount(operation, "rows", static_cast<size_t>(call.outputs.at(0).size(0)), static_cast<size_t>(group.size));
  needSame(operation, call.outputs[0][0], call.inputs.at(0));
  const at::Tensor all = writable(operation, call.outputs[0]);
  std::vector<Tensors> outputs(1);
  for (const auto& row : all.unbind(0)) outputs[0].push_back(bytesOf(row));
  Tensors inputs{bytesOf(readable(operation, call.inputs[0]))};
  if (all.numel() > 0) operation.work = group.transport->allgather(outputs, inputs);
}

// outputs[0] is given on the root only and has a leading dimension of the group's size.
void gather(Operation& operation, const Call& call) {
  const Group& group = *operation.group;
  std::vector<Tensors> outputs;
  if (group.rank == call.peer) {
    needCount(operation, "rows", static_cast<size_t>(call.outputs.at(0).size(0)), static_cast<size_t>(group.size));
    needSame(operation, call.outputs[0][0], call.inputs.at(0));
    outputs.emplace_back();
    for (const auto& row : writable(operation, call.outputs[0]).unbind(0)) outputs[0].push_back(bytesOf(row));
  }
  c10d::GatherOptions options;
  options.rootRank = call.peer;
  Tensors inputs{bytesOf(readable(operation, call.inputs.at(0)))};
  if (inputs[0].numel() > 0) operation.work = group.transport->gather(outputs, inputs, options);
}

void scatter(Operation& operation, const Call& call) {
  const Group& group = *operation.group;
  std::vector<Tensors> inputs;
  if (group.rank == call.peer) {
    needCount(operation, "tensors", call.inputs.size(), static_cast<size_t>(group.size));
    inputs.emplace_back();
    for (const auto& input : call.inputs) {
      needSame(operation, input, call.outputs.at(0));
      inputs[0].push_back(bytesOf(readable(operation, input)));
    }
  }
  c10d::ScatterOptions options;
  options.rootRank = call.peer;
  Tensors outputs{bytesOf(writable(operation, call.outputs.at(0)))};
  if (outputs[0].numel() > 0) operation.work = group.transport->scatter(outputs, inputs, options);
}

// Sends equal blocks of `input` to the ranks and receives theirs in a new tensor of the same layout.
at::Tensor exchange(Operation& operation, const at::Tensor& input, int64_t blocks) {
  at::Tensor output = at::empty_like(input);
  at::Tensor to = bytesOf(input), from = bytesOf(output);
  std::vector<int64_t> counts(static_cast<size_t>(blocks), to.numel() / blocks);
  std::vector<int64_t> counts2 = counts;
  operation.buffers.insert(operation.buffers.end(), {input, output, to, from});
  if (to.numel() > 0) operation.work = operation.group->transport->alltoall_base(from, to, counts, counts2);
  return output;
}

// A reduce-scatter of the same volume as a native one, with the sum in the order of the ranks.
void reduceScatter(Operation& operation, const Call& call) {
  const Group& group = *operation.group;
  const at::Tensor output = call.outputs.at(0).detach();
  needCount(operation, "tensors", call.inputs.size(), static_cast<size_t>(group.size));
  const Reduction reduction = reductionOf(call.op, output.scalar_type(), operation.what);
  Tensors rows;
  for (const auto& input : call.inputs) {
    needSame(operation, input, output);
    rows.push_back(input.detach().resolve_conj().resolve_neg().reshape({1, -1}));
  }
  const bool isBool = output.scalar_type() == at::kBool;
  const at::ScalarType compute = output.is_complex() ? output.scalar_type() : computeType(group, output.scalar_type());
  const at::Tensor received = exchange(operation, at::cat(rows, 0), group.size);
  const ReduceKind kind = isBool ? kindForBytes(reduction.kind) : reduction.kind;
  operation.after.push_back([received, output, kind, compute, average = reduction.average, size = group.size] {
    at::Tensor result = reduceRows(received.to(compute), kind);
    if (average) divideInPlace(result, size);
    output.copy_(result.view(output.sizes()));
  });
}

void allToAll(Operation& operation, const Call& call) {
  const Group& group = *operation.group;
  needCount(operation, "tensors", call.inputs.size(), static_cast<size_t>(group.size));
  needCount(operation, "tensors", call.outputs.size(), static_cast<size_t>(group.size));
  Tensors rows;
  for (size_t i = 0; i < call.inputs.size(); i++) {
    needSame(operation, call.inputs[i], call.inputs[0]);
    needSame(operation, call.outputs[i], call.inputs[0]);
    rows.push_back(call.inputs[i].detach().resolve_conj().resolve_neg().reshape({1, -1}));
  }
  const at::Tensor received = exchange(operation, at::cat(rows, 0), group.size);
  operation.after.push_back([received, outputs = call.outputs] {
    for (size_t i = 0; i < outputs.size(); i++) {
      const at::Tensor own = outputs[i].detach();
      own.copy_(received[static_cast<int64_t>(i)].view(own.sizes()));
    }
  });
}

void send(Operation& operation, const Call& call) {
  Tensors data{bytesOf(readable(operation, call.inputs.at(0)))};
  operation.hasFuture = false;
  if (data[0].numel() > 0) operation.work = operation.group->transport->send(data, call.peer, call.tag);
}

void recv(Operation& operation, const Call& call) {
  Tensors data{bytesOf(writable(operation, call.outputs.at(0)))};
  operation.hasFuture = false;
  operation.source = call.peer;
  operation.fromAny = call.peer < 0;
  if (data[0].numel() == 0) return;
  auto& transport = *operation.group->transport;
  operation.work = call.peer < 0 ? transport.recvAnysource(data, call.tag) : transport.recv(data, call.peer, call.tag);
}

void barrier(Operation& operation, const Call& call) {
  c10d::BarrierOptions options;
  // `peer` carries the CUDA device here, which NCCL needs to know.
  if (operation.group->nccl()) options.device_ids = {call.peer};
  operation.work = operation.group->transport->barrier(options);
}

using Start = void (*)(Operation&, const Call&);

Start startOf(const std::string& name) {
  static const std::pair<const char*, Start> all[] = {{"broadcast", broadcast},
                                                      {"allReduce", allReduce},
                                                      {"reduce", reduce},
                                                      {"allGather", allGather},
                                                      {"gather", gather},
                                                      {"scatter", scatter},
                                                      {"reduceScatter", reduceScatter},
                                                      {"allToAll", allToAll},
                                                      {"send", send},
                                                      {"recv", recv},
                                                      {"barrier", barrier}};
  for (const auto& [known, start] : all) {
    if (name == known) return start;
  }
  throw JsError("TypeError", "internal: there is no collective \"" + name + "\".");
}

std::shared_ptr<Operation> startCollective(const std::shared_ptr<Group>& group, const std::string& name,
                                           const Call& call) {
  at::NoGradGuard noGrad;
  auto operation = std::make_shared<Operation>();
  operation->group = group;
  operation->what = name;
  const Tensors& shown = call.inputs.empty() ? call.outputs : call.inputs;
  if (!shown.empty()) operation->what += " of " + describeTensor(shown[0]);
  const Start start = startOf(name);
  communicate(operation->what, *group, [&] { start(*operation, call); });
  if (!operation->work) return operation;
  auto inFlight = group->inFlight;
  ++*inFlight;
  if (group->nccl()) operation->hasFuture = false;
  if (operation->hasFuture) {
    operation->work->getFuture()->addCallback([inFlight](c10::ivalue::Future&) { --*inFlight; });
  }
  return operation;
}

// ---- waiting ------------------------------------------------------------------------------------------------

// Lets another thread wait for a work without a future.
void waitElsewhere(const std::shared_ptr<Operation>& operation, Done done) {
  runDetached([operation, work = operation->work, done = std::move(done)] {
    std::exception_ptr error;
    try {
      work->wait();
      operation->waited = true;
    } catch (...) {
      error = std::make_exception_ptr(communicationError(std::current_exception(), operation->what, *operation->group));
    }
    --*operation->group->inFlight;
    done(error);
  });
}

napi_value waitAsync(napi_env env, const std::shared_ptr<Operation>& operation) {
  Done done;
  napi_value promise = makePromise(
      env,
      [operation](napi_env env) {
        operation->complete();
        return jsUndefined(env);
      },
      &done);
  if (!operation->work) {
    done(nullptr);
  } else if (operation->group->nccl()) {
    // Ordered on the device's stream: there is nothing to wait for on the host.
    --*operation->group->inFlight;
    done(nullptr);
  } else if (operation->hasFuture) {
    operation->work->getFuture()->addCallback([operation, done](c10::ivalue::Future& future) {
      done(future.hasError()
               ? std::make_exception_ptr(communicationError(future.exception_ptr(), operation->what, *operation->group))
               : nullptr);
    });
  } else {
    waitElsewhere(operation, std::move(done));
  }
  return promise;
}

void waitSync(const std::shared_ptr<Operation>& operation) {
  const bool counted = operation->work && !operation->hasFuture;
  std::shared_ptr<void> uncount(nullptr, [&](void*) {
    if (counted) --*operation->group->inFlight;
  });
  operation->waitHere();
}

// startCollective(group, name, outputs, inputs, op, peer, tag) => work
napi_value startCollectiveJs(napi_env env, napi_callback_info info) {
  return guarded(env, "startCollective", [&]() -> napi_value {
    Args<7> a(env, info);
    auto group = groupOf(env, a[0]);
    Call call{tensorsOf(env, a[2], "outputs"), tensorsOf(env, a[3], "inputs"), stringOf(env, a[4], "op"),
              static_cast<int>(intOf(env, a[5], "peer")), static_cast<int>(intOf(env, a[6], "tag"))};
    return makeExternal(env, new WorkObject(startCollective(group, stringOf(env, a[1], "name"), call)));
  });
}

napi_value workWait(napi_env env, napi_callback_info info) {
  return guarded(env, "workWait", [&]() -> napi_value {
    Args<1> a(env, info);
    return waitAsync(env, unwrap<WorkObject>(env, a[0], Kind::Work, "work")->operation);
  });
}

napi_value workWaitSync(napi_env env, napi_callback_info info) {
  return guarded(env, "workWaitSync", [&]() -> napi_value {
    Args<1> a(env, info);
    waitSync(unwrap<WorkObject>(env, a[0], Kind::Work, "work")->operation);
    return jsUndefined(env);
  });
}

// workSource(work): the rank that sent what `recv` got.
napi_value workSource(napi_env env, napi_callback_info info) {
  return guarded(env, "workSource", [&]() -> napi_value {
    Args<1> a(env, info);
    return jsInt(env, unwrap<WorkObject>(env, a[0], Kind::Work, "work")->operation->source);
  });
}

// ---- gradients through all-gather ---------------------------------------------------------------------------

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
  waitSync(startCollective(group, "allReduce", call));
}

const std::vector<Export>& collectiveExports() {
  static const std::vector<Export> table = {{"startCollective", startCollectiveJs},
                                            {"workWait", workWait},
                                            {"workWaitSync", workWaitSync},
                                            {"workSource", workSource},
                                            {"attachGather", attachGather}};
  return table;
}

}  // namespace fabric
