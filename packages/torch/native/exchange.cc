// Tensors on their way between the threads of a process: one thread gives a tensor and gets a number, another takes the
// tensor for the number. Elements are never copied. Also what else data-loading threads need of the engine: rows of
// typed arrays as one tensor, and operators that use one thread.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>

#include <cstring>
#include <mutex>
#include <unordered_map>

#include "handle.h"

namespace fabric {

namespace {

// What was given and not yet taken, by its number, for each exchange that is open.
struct Exchange {
  std::mutex mutex;
  std::unordered_map<int64_t, std::unordered_map<int64_t, at::Tensor>> open;
  int64_t next = 1;
};

Exchange& exchange() {
  static auto* one = new Exchange;  // never destroyed: tensors of the engine may not outlive it
  return *one;
}

[[noreturn]] void throwGone(int64_t number) {
  throw JsError("UsageError", "internal: there is no tensor " + std::to_string(number) + " in this exchange.");
}

// openExchange() -> number
napi_value openExchange(napi_env env, napi_callback_info) {
  return guarded(env, "openExchange", [&]() -> napi_value {
    Exchange& all = exchange();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const int64_t id = all.next++;
    all.open[id];
    return jsInt(env, id);
  });
}

// closeExchange(id): frees what nobody took. What is given afterwards is freed at once.
napi_value closeExchange(napi_env env, napi_callback_info info) {
  return guarded(env, "closeExchange", [&]() -> napi_value {
    Args<1> a(env, info);
    const int64_t id = intOf(env, a[0], "exchange");
    std::unordered_map<int64_t, at::Tensor> dropped;  // freed after the lock is
    Exchange& all = exchange();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.open.find(id);
    if (found == all.open.end()) return jsUndefined(env);
    dropped.swap(found->second);
    all.open.erase(found);
    return jsUndefined(env);
  });
}

// giveTensor(exchange, tensor) -> number. The other thread gets a tensor of its own over the same storage.
napi_value giveTensor(napi_env env, napi_callback_info info) {
  return guarded(env, "giveTensor", [&]() -> napi_value {
    Args<2> a(env, info);
    const int64_t id = intOf(env, a[0], "exchange");
    const at::Tensor& tensor = tensorOf(env, a[1], "tensor");
    const bool requiresGrad = tensor.requires_grad();
    if (requiresGrad && !tensor.is_leaf()) {
      throw JsError("UsageError", "A tensor with gradient history cannot go from one thread to another.",
                    "Pass `x.detach()`, or compute it under `torch.noGrad()`.");
    }
    at::Tensor given = tensor.detach();
    if (requiresGrad) given.set_requires_grad(true);
    Exchange& all = exchange();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const int64_t number = all.next++;
    const auto found = all.open.find(id);
    if (found != all.open.end()) found->second.emplace(number, std::move(given));
    return jsInt(env, number);
  });
}

// takeTensor(exchange, number, keep) -> tensor; `keep` leaves it for other threads.
napi_value takeTensor(napi_env env, napi_callback_info info) {
  return guarded(env, "takeTensor", [&]() -> napi_value {
    Args<3> a(env, info);
    const int64_t id = intOf(env, a[0], "exchange"), number = intOf(env, a[1], "number");
    const bool keep = boolOf(env, a[2], "keep");
    at::Tensor tensor;
    {
      Exchange& all = exchange();
      const std::lock_guard<std::mutex> lock(all.mutex);
      const auto owner = all.open.find(id);
      if (owner == all.open.end()) throwGone(number);
      const auto found = owner->second.find(number);
      if (found == owner->second.end()) throwGone(number);
      tensor = found->second;
      if (!keep) owner->second.erase(found);
    }
    if (keep) {
      const bool requiresGrad = tensor.requires_grad();
      tensor = tensor.detach();
      if (requiresGrad) tensor.set_requires_grad(true);
    }
    return wrapTensor(env, std::move(tensor));
  });
}

// tensorsInExchanges() -> how many tensors were given and not taken.
napi_value tensorsInExchanges(napi_env env, napi_callback_info) {
  return guarded(env, "tensorsInExchanges", [&]() -> napi_value {
    Exchange& all = exchange();
    const std::lock_guard<std::mutex> lock(all.mutex);
    int64_t count = 0;
    for (const auto& [id, tensors] : all.open) count += static_cast<int64_t>(tensors.size());
    return jsInt(env, count);
  });
}

// fromRows(typed arrays, dtype) -> tensor [rows, length]: each array is copied once, to where the batch has it. The
// arrays are equally long and of the dtype's type, which the caller has checked.
napi_value fromRows(napi_env env, napi_callback_info info) {
  return guarded(env, "fromRows", [&]() -> napi_value {
    Args<2> a(env, info);
    const at::ScalarType type = dtypeOf(env, a[1]);
    uint32_t count = 0;
    check(napi_get_array_length(env, a[0], &count));
    at::Tensor tensor;
    size_t width = 0;
    for (uint32_t i = 0; i < count; i++) {
      napi_value row;
      napi_typedarray_type kind;
      size_t length = 0;
      void* data = nullptr;
      check(napi_get_element(env, a[0], i, &row));
      check(napi_get_typedarray_info(env, row, &kind, &length, &data, nullptr, nullptr));
      if (i == 0) {
        tensor = at::empty({static_cast<int64_t>(count), static_cast<int64_t>(length)},
                           at::TensorOptions(type).device(at::kCPU));
        width = length;
      }
      if (length != width) throw JsError("TypeError", "internal: rows of different lengths.");
      if (length == 0) continue;
      const size_t bytes = length * tensor.element_size();
      std::memcpy(static_cast<char*>(tensor.data_ptr()) + i * bytes, data, bytes);
    }
    return wrapTensor(env, std::move(tensor));
  });
}

// useOneThread(): operators called from this thread use no others. The engine's own setting is of the whole process;
// that of OpenMP, which it asks, is of the thread.
napi_value useOneThread(napi_env env, napi_callback_info) {
  return guarded(env, "useOneThread", [&]() -> napi_value {
    at::get_num_threads();  // the engine sets up a thread at its first question, which would undo this
    using Set = void (*)(int);
    if (auto set = reinterpret_cast<Set>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"))) set(1);
    return jsUndefined(env);
  });
}

}  // namespace

const std::vector<Export>& exchangeExports() {
  static const std::vector<Export> table = {
      {"openExchange", openExchange}, {"closeExchange", closeExchange},           {"giveTensor", giveTensor},
      {"takeTensor", takeTensor},     {"tensorsInExchanges", tensorsInExchanges}, {"fromRows", fromRows},
      {"useOneThread", useOneThread}};
  return table;
}

}  // namespace fabric
