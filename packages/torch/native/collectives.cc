// The collectives: each starts at once and returns an operation to wait for. What a transport cannot do itself
// (reduce-scatter, some element types) is done here around what it can, the same way on every LibTorch.
#include "collectives.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>

namespace fabric {

namespace {

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

// The text that says what a call is: the same on all ranks that make the same call.
std::string textOf(const std::string& name, const Call& call) {
  std::string text = call.label.empty() ? name : call.label + ": " + name;
  const Tensors& shown = call.inputs.empty() ? call.outputs : call.inputs;
  if (!shown.empty()) text += " of " + describeTensor(shown[0]);
  return text;
}

// The same with what the text of an error leaves out, for the comparison of ranks.
std::string signatureOf(const std::string& name, const Operation& operation, const Call& call) {
  if (name == "broadcast" || name == "scatter") return operation.what + " from rank " + std::to_string(call.peer);
  if (name == "gather") return operation.what + " to rank " + std::to_string(call.peer);
  if (name == "reduce") return operation.what + " by " + call.op + " to rank " + std::to_string(call.peer);
  if (name == "allReduce" || name == "reduceScatter") return operation.what + " by " + call.op;
  return operation.what;
}

bool isPointToPoint(const std::string& name) { return name == "send" || name == "recv"; }

}  // namespace

std::string describeTensor(const at::Tensor& tensor) {
  std::string text = std::string(dtypeName(tensor.scalar_type())) + " [";
  for (int64_t i = 0; i < tensor.dim(); i++) text += (i ? ", " : "") + std::to_string(tensor.size(i));
  return text + "]";
}

std::shared_ptr<Operation> startCollective(const std::shared_ptr<Group>& group, const std::string& name,
                                           const Call& call) {
  at::NoGradGuard noGrad;
  auto operation = std::make_shared<Operation>();
  operation->group = group;
  operation->what = textOf(name, call);
  const Start start = startOf(name);
  communicate(operation->what, *group, [&] { start(*operation, call); });
  if (!isPointToPoint(name)) operation->entry = group->flight->begin(signatureOf(name, *operation, call), true);
  if (!operation->work) {
    operation->entry.reset();
    return operation;
  }
  ++*group->inFlight;
  if (group->nccl()) operation->hasFuture = false;
  if (operation->hasFuture) {
    operation->work->getFuture()->addCallback([inFlight = group->inFlight, entry = operation->entry](auto&) {
      --*inFlight;
      if (entry) entry->end();
    });
  }
  return operation;
}

}  // namespace fabric
