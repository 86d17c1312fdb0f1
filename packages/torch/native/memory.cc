// Lifetime of native objects: externals with basic finalizers, accounting of storages towards V8, minor collections
// after a number of bytes, explicit release, and an allocator that keeps freed blocks.
#include <c10/core/StorageImpl.h>
#include <c10/util/flat_hash_map.h>

#include "handle.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace fabric {

namespace {

// What V8 is told a handle costs beside the elements: the native tensor, its handle and its JavaScript objects.
constexpr int64_t kHandleBytes = 512;
// Storages below this are covered by kHandleBytes.
constexpr size_t kSmallStorage = 1024;
// A minor collection after so many handles: their memory comes back while it is still in the processor's cache, which
// is worth more than the tenth of a millisecond that the collection takes (an `add` of small tensors: 2.0 us
// against 3.3).
constexpr int64_t kCollectEveryHandles = 1024;
// V8 is told of changes in steps of this size.
constexpr int64_t kTellEvery = 256 * 1024;

struct Charge {
  int64_t handles = 0;
  int64_t bytes = 0;
};

}  // namespace

// Handles live and die on the JavaScript thread of their environment (also inside its collections).
struct Accounts {
  ska::flat_hash_map<void*, Charge> storages;
  int64_t live = 0;
  int64_t charged = 0;
  int64_t peak = 0;
  int64_t untold = 0;  // of `charged`, what V8 does not know yet
  int64_t collections = 0;
  int64_t collectEvery = 20 * 1024 * 1024;
  int64_t freshBytes = 0;    // since the last collection that was asked for
  int64_t freshHandles = 0;  // likewise
};

void setUpMemory(EnvData& data) { data.accounts = std::make_shared<Accounts>(); }

namespace {

void tell(EnvData* data, int64_t change) {
  Accounts& accounts = *data->accounts;
  accounts.charged += change;
  if (accounts.charged > accounts.peak) accounts.peak = accounts.charged;
  accounts.untold += change;
  if (accounts.untold < kTellEvery && accounts.untold > -kTellEvery) return;
  int64_t ignored = 0;
  napi_adjust_external_memory(data->env, accounts.untold, &ignored);
  accounts.untold = 0;
}

// Takes a share of the tensor's storage; returns the bytes that this added.
int64_t chargeStorage(TensorHandle* handle) {
  const at::Tensor& tensor = handle->tensor;
  if (!tensor.has_storage()) return 0;
  c10::StorageImpl* storage = tensor.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl();
  // Device memory does not press on the host's heap; the engine asks for a collection when it runs out.
  if (!storage || storage->device_type() != c10::kCPU || storage->nbytes() < kSmallStorage) return 0;
  Charge& charge = handle->env->accounts->storages[storage];
  handle->chargedStorage = storage;
  if (charge.handles++ > 0) return 0;
  charge.bytes = static_cast<int64_t>(storage->nbytes());
  return charge.bytes;
}

int64_t dischargeStorage(TensorHandle* handle) {
  if (!handle->chargedStorage) return 0;
  auto& storages = handle->env->accounts->storages;
  auto found = storages.find(handle->chargedStorage);
  handle->chargedStorage = nullptr;
  if (found == storages.end() || --found->second.handles > 0) return 0;
  const int64_t bytes = found->second.bytes;
  storages.erase(found);
  return bytes;
}

void releaseHandle(TensorHandle* handle) {
  if (handle->released) return;
  handle->released = true;
  handle->env->accounts->live--;
  const int64_t bytes = handle->charged + dischargeStorage(handle);
  handle->charged = 0;
  handle->tensor.reset();
  tell(handle->env, -bytes);
}

void finalize(napi_env, void* object, void*) { delete static_cast<Object*>(object); }

}  // namespace

void collect(EnvData& data, bool full) {
  napi_value function = nullptr, receiver, ignored;
  if (!data.collect || napi_get_reference_value(data.env, data.collect, &function) != napi_ok) return;
  data.accounts->collections++;
  napi_value argument = jsBool(data.env, full);
  check(napi_get_undefined(data.env, &receiver));
  check(napi_call_function(data.env, receiver, function, 1, &argument, &ignored));
}

TensorHandle::~TensorHandle() { releaseHandle(this); }

napi_value makeExternal(napi_env env, Object* object) {
  napi_value result;
  if (napi_create_external(env, object, finalize, nullptr, &result) != napi_ok) {
    delete object;
    throw PendingException{};
  }
  return result;
}

napi_value wrapTensor(napi_env env, at::Tensor tensor) {
  if (!tensor.defined()) return jsNull(env);
  EnvData& data = envData(env);
  Accounts& accounts = *data.accounts;
  auto* handle = new TensorHandle(std::move(tensor), &data);
  accounts.live++;
  handle->charged = kHandleBytes;
  const int64_t fresh = chargeStorage(handle);
  tell(&data, kHandleBytes + fresh);
  napi_value result = makeExternal(env, handle);
  accounts.freshBytes += fresh;
  if (accounts.collectEvery > 0 &&
      (++accounts.freshHandles >= kCollectEveryHandles || accounts.freshBytes >= accounts.collectEvery)) {
    accounts.freshBytes = accounts.freshHandles = 0;
    collect(data, false);
  }
  return result;
}

napi_value wrapTensors(napi_env env, const std::vector<at::Tensor>& tensors) {
  napi_value result;
  check(napi_create_array_with_length(env, tensors.size(), &result));
  for (uint32_t i = 0; i < tensors.size(); i++) check(napi_set_element(env, result, i, wrapTensor(env, tensors[i])));
  return result;
}

void rechargeStorage(TensorHandle* handle) {
  const int64_t before = dischargeStorage(handle);
  tell(handle->env, chargeStorage(handle) - before);
}

Object* unwrapObject(napi_env env, napi_value value, Kind kind, const char* what) {
  void* pointer = nullptr;
  napi_valuetype type = napi_undefined;
  if (value) check(napi_typeof(env, value, &type));
  if (type == napi_external) check(napi_get_value_external(env, value, &pointer));
  auto* object = static_cast<Object*>(pointer);
  if (!object || object->kind != kind) {
    static constexpr const char* kNames[] = {"a Tensor", "a Generator", "a Store",        "a ProcessGroup",
                                             "a Work",   "a Reducer",   "a BackwardGuard"};
    const size_t index = static_cast<uint32_t>(kind) - static_cast<uint32_t>(Kind::Tensor);
    throw JsError("TypeError", std::string("Expected `") + what + "` to be " + kNames[index] + ".");
  }
  return object;
}

const at::Tensor& tensorOf(napi_env env, napi_value value, const char* what) {
  auto* handle = unwrap<TensorHandle>(env, value, Kind::Tensor, what);
  if (handle->released) {
    throw JsError("UsageError", std::string("The tensor given as `") + what + "` has been disposed.",
                  "Use it before `dispose()`, before its `using` block or `scope()` ends, or return it from the scope.",
                  "ERR_DISPOSED");
  }
  return handle->tensor;
}

at::Tensor optionalTensorOf(napi_env env, napi_value value, const char* what) {
  return isNullish(env, value) ? at::Tensor() : tensorOf(env, value, what);
}

// ---- exports ------------------------------------------------------------------------------------------------

static napi_value release(napi_env env, napi_callback_info info) {
  return guarded(env, "release", [&]() -> napi_value {
    Args<1> a(env, info);
    releaseHandle(unwrap<TensorHandle>(env, a[0], Kind::Tensor, "tensor"));
    return jsUndefined(env);
  });
}

static napi_value isReleased(napi_env env, napi_callback_info info) {
  return guarded(env, "isReleased", [&]() -> napi_value {
    Args<1> a(env, info);
    return jsBool(env, unwrap<TensorHandle>(env, a[0], Kind::Tensor, "tensor")->released);
  });
}

static napi_value memoryStats(napi_env env, napi_callback_info) {
  return guarded(env, "memoryStats", [&]() -> napi_value {
    napi_value result;
    check(napi_create_object(env, &result));
    const Accounts& accounts = *envData(env).accounts;
    auto set = [&](const char* name, int64_t value) {
      check(napi_set_named_property(env, result, name, jsInt(env, value)));
    };
    set("liveTensors", accounts.live);
    set("chargedBytes", accounts.charged);
    set("peakBytes", accounts.peak);
    set("collections", accounts.collections);
    return result;
  });
}

static napi_value setCollectEvery(napi_env env, napi_callback_info info) {
  return guarded(env, "setCollectEvery", [&]() -> napi_value {
    Args<1> a(env, info);
    envData(env).accounts->collectEvery = intOf(env, a[0], "bytes");
    return jsUndefined(env);
  });
}

// glibc gives big blocks back to the system and faults them in again at the next allocation; keeping them is worth
// about a third of a convnet's step.
static bool keepBlocks(bool keep) {
#if defined(__GLIBC__)
  const int threshold = keep ? 1 << 30 : 128 * 1024;
  const bool changed = mallopt(M_MMAP_THRESHOLD, threshold) == 1 && mallopt(M_TRIM_THRESHOLD, threshold) == 1;
  if (!keep) malloc_trim(0);
  return changed;
#else
  return keep && false;
#endif
}

static const bool kKeptAtLoad = keepBlocks(true);

static napi_value keepFreedBlocks(napi_env env, napi_callback_info info) {
  return guarded(env, "keepFreedBlocks", [&]() -> napi_value {
    Args<1> a(env, info);
    return jsBool(env, keepBlocks(boolOf(env, a[0], "keep")) || kKeptAtLoad);
  });
}

const std::vector<Export>& memoryExports() {
  static const std::vector<Export> table = {{"release", release},
                                            {"isReleased", isReleased},
                                            {"memoryStats", memoryStats},
                                            {"setCollectEvery", setCollectEvery},
                                            {"keepFreedBlocks", keepFreedBlocks}};
  return table;
}

}  // namespace fabric
