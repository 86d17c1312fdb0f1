// Lifetime of native objects: externals with basic finalizers, the account of what their storages hold, collections for
// its sake, and explicit release.
//
// V8 is not told of that memory (napi_adjust_external_memory): Node 20 ends the process with "Check failed:
// marking_done_" when a change of it comes while an incremental marking is under way. Collections are started here.
#include <c10/core/StorageImpl.h>
#include <c10/util/flat_hash_map.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <utility>

#include "handle.h"

namespace fabric {

namespace {

// What a handle costs beside the elements: the native tensor, its handle and its JavaScript objects.
constexpr int64_t kHandleBytes = 512;
// Storages below this are covered by kHandleBytes.
constexpr size_t kSmallStorage = 1024;
// A minor collection after so many handles: their memory comes back while it is still in the processor's cache, which
// is worth more than the tenth of a millisecond that the collection takes (an `add` of small tensors: 2.0 us
// against 3.3).
constexpr int64_t kCollectEveryHandles = 2048;
// Minor collections leave what has survived two of them: a full one comes when this many more bytes are in use than
// after the last one, or half as many again. What graphs hold counts: a dead loss may hold the activations of a whole
// step.
constexpr int64_t kFullAfterBytes = 64 * 1024 * 1024;
// Likewise for handles.
constexpr int64_t kFullAfterHandles = 512;
// Dead handles beyond this number are not kept for the next tensors.
constexpr size_t kSpareHandles = 2048;

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
  int64_t fullAtBytes = kFullAfterBytes;      // a full collection when more is in use
  int64_t fullAtHandles = kFullAfterHandles;  // or when `live` is above
  int64_t collections = 0;
  int64_t collectEvery = 20 * 1024 * 1024;
  int64_t freshBytes = 0;    // since the last collection that was asked for
  int64_t freshHandles = 0;  // likewise
  // Handles that were collected, with their small tensors still inside. Freeing a thousand tensors at once, as a
  // collection would, takes the C library three times as long as freeing one whenever the next one is made.
  TensorHandle* spare = nullptr;
  size_t spares = 0;
  ~Accounts();
};

void setUpMemory(EnvData& data) { data.accounts = std::make_shared<Accounts>(); }

namespace {

void charge(EnvData* data, int64_t change) {
  Accounts& accounts = *data->accounts;
  accounts.charged += change;
  if (accounts.charged > accounts.peak) accounts.peak = accounts.charged;
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

// Takes a handle off the account; its tensor is still inside.
void discharge(TensorHandle* handle) {
  if (handle->released) return;
  handle->released = true;
  handle->env->accounts->live--;
  charge(handle->env, -handle->charged - dischargeStorage(handle));
  handle->charged = 0;
}

bool holdsGraph(const at::Tensor& tensor) {
  const auto* meta = torch::autograd::impl::get_autograd_meta(tensor);
  return meta && (meta->grad_fn_ || meta->grad_accumulator_.lock() || meta->grad_.defined() || !meta->hooks_.empty());
}

// True for a handle whose tensor may as well stay a while: no big storage, no graph, not even through what it is a view
// of.
bool holdsLittle(TensorHandle* handle) {
  const at::Tensor& tensor = handle->tensor;
  if (!tensor.defined() || handle->chargedStorage || !tensor.is_cpu()) return false;
  if (!tensor.unsafeGetTensorImpl()->autograd_meta()) return true;
  if (holdsGraph(tensor)) return false;
  const auto* view = torch::autograd::impl::get_view_autograd_meta(tensor);
  if (!view) return true;
  return (!view->has_bw_view() || !holdsGraph(view->get_backward_view().base_)) && !view->has_fw_view();
}

void finalize(napi_env, void* pointer, void*) {
  auto* object = static_cast<Object*>(pointer);
  if (object->kind == Kind::Tensor) {
    auto* handle = static_cast<TensorHandle*>(object);
    Accounts& accounts = *handle->env->accounts;
    if (accounts.spares < kSpareHandles && holdsLittle(handle)) {
      discharge(handle);
      handle->next = accounts.spare;
      accounts.spare = handle;
      accounts.spares++;
      return;
    }
  }
  delete object;
}

TensorHandle* newHandle(EnvData& data, at::Tensor tensor) {
  Accounts& accounts = *data.accounts;
  TensorHandle* handle = accounts.spare;
  if (!handle) return new TensorHandle(std::move(tensor), &data);
  accounts.spare = handle->next;
  accounts.spares--;
  handle->tensor = std::move(tensor);
  handle->released = false;
  return handle;
}

}  // namespace

void collect(EnvData& data, bool full) {
  napi_value function = nullptr, receiver, ignored;
  if (!data.collect || napi_get_reference_value(data.env, data.collect, &function) != napi_ok) return;
  data.accounts->collections++;
  napi_value argument = jsBool(data.env, full);
  check(napi_get_undefined(data.env, &receiver));
  check(napi_call_function(data.env, receiver, function, 1, &argument, &ignored));
}

TensorHandle::~TensorHandle() { discharge(this); }

Accounts::~Accounts() {
  while (spare) delete std::exchange(spare, spare->next);
}

napi_value makeExternal(napi_env env, Object* object) {
  napi_value result;
  if (napi_create_external(env, object, finalize, nullptr, &result) != napi_ok) {
    delete object;
    throw PendingException{};
  }
  return result;
}

// Collections for the sake of tensors: minor ones after so many new bytes or handles, a full one when they leave much.
static void collectIfDue(EnvData& data, int64_t fresh) {
  Accounts& accounts = *data.accounts;
  accounts.freshBytes += fresh;
  accounts.freshHandles++;
  if (accounts.collectEvery > 0) {
    if (accounts.freshHandles < kCollectEveryHandles && accounts.freshBytes < accounts.collectEvery) return;
    accounts.freshBytes = accounts.freshHandles = 0;
    collect(data, false);
    forgetOldPeak();
  }
  if (bytesInUse() < accounts.fullAtBytes && accounts.live < accounts.fullAtHandles) return;
  collect(data, true);
  accounts.fullAtBytes = bytesInUse() + std::max(kFullAfterBytes, bytesInUse() / 2);
  accounts.fullAtHandles = accounts.live + std::max(kFullAfterHandles, accounts.live / 2);
}

napi_value wrapTensor(napi_env env, at::Tensor tensor) {
  if (!tensor.defined()) return jsNull(env);
  EnvData& data = envData(env);
  TensorHandle* handle = newHandle(data, std::move(tensor));
  data.accounts->live++;
  handle->charged = kHandleBytes;
  const int64_t fresh = chargeStorage(handle);
  charge(&data, kHandleBytes + fresh);
  napi_value result = makeExternal(env, handle);
  collectIfDue(data, fresh);
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
  charge(handle->env, chargeStorage(handle) - before);
}

Object* unwrapObject(napi_env env, napi_value value, Kind kind, const char* what) {
  void* pointer = nullptr;
  napi_valuetype type = napi_undefined;
  if (value) check(napi_typeof(env, value, &type));
  if (type == napi_external) check(napi_get_value_external(env, value, &pointer));
  auto* object = static_cast<Object*>(pointer);
  if (!object || object->kind != kind) {
    static constexpr const char* kNames[] = {"a Tensor",  "a Generator", "a Store",         "a ProcessGroup",
                                             "a Work",    "a Reducer",   "a BackwardGuard", "a list of numbers",
                                             "a Function"};
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
    auto* handle = unwrap<TensorHandle>(env, a[0], Kind::Tensor, "tensor");
    discharge(handle);
    handle->tensor.reset();
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

static napi_value setKeepFreedBlocks(napi_env env, napi_callback_info info) {
  return guarded(env, "keepFreedBlocks", [&]() -> napi_value {
    Args<1> a(env, info);
    keepFreedBlocks(boolOf(env, a[0], "keep"));
    return jsUndefined(env);
  });
}

const std::vector<Export>& memoryExports() {
  static const std::vector<Export> table = {{"release", release},
                                            {"isReleased", isReleased},
                                            {"memoryStats", memoryStats},
                                            {"setCollectEvery", setCollectEvery},
                                            {"keepFreedBlocks", setKeepFreedBlocks}};
  return table;
}

}  // namespace fabric
