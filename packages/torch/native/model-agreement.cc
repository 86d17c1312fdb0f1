// What the ranks agree on before they train together: that their models are the same, and rank 0's values in them.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <torch/csrc/distributed/c10d/comm.hpp>

#include "reducer.h"

namespace fabric {

namespace {

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
  const auto entry = group->flight->begin("DistributedDataParallel: comparing the models of all ranks", true);
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
  const auto entry = group->flight->begin(
      "DistributedDataParallel: broadcast of " + std::to_string(data.size()) + " parameters and buffers", true);
  communicate("Broadcasting parameters and buffers from rank " + std::to_string(source), *group,
              [&] { c10d::broadcast_coalesced(group->group, data, bufferBytes, source); });
  for (const auto& [own, dense] : copies) own.copy_(dense);
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

}  // namespace

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

const std::vector<Export>& modelAgreementExports() {
  static const std::vector<Export> table = {{"verifyModels", verifyModelsJs}, {"broadcastTensors", broadcastTensorsJs}};
  return table;
}

}  // namespace fabric
