// What every source file of the addon shares: typed native objects behind JavaScript externals, wrapping and
// unwrapping of tensors, per-environment data, and the one guard that keeps C++ exceptions inside C++.
#pragma once

// The experimental version of Node-API, for one thing: finalizers that run inside a collection. With any other version
// they wait for the event loop, and a synchronous training loop would never free a tensor.
#define NAPI_EXPERIMENTAL
#define NAPI_VERSION 2147483647
#define NODE_API_EXPERIMENTAL_NOGC_ENV_OPT_OUT
#include <ATen/core/Tensor.h>
#include <node_api.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace fabric {

// ---- errors -------------------------------------------------------------------------------------------------

// A JavaScript exception is pending: unwind to the guard without touching it.
struct PendingException {};

// An error with the class it should have in JavaScript. `kind` is the name of an exported error class:
// "TypeError", "UsageError", "ConfigurationError", "NotSupportedError", "DistributedError", "TorchError".
class JsError : public std::runtime_error {
 public:
  JsError(const char* kind, const std::string& message, std::string hint = "", std::string code = "")
      : std::runtime_error(message), kind(kind), hint(std::move(hint)), code(std::move(code)) {}
  const char* kind;
  std::string hint;
  std::string code;
};

// Throws PendingException when a Node-API call failed.
inline void check(napi_status status) {
  if (status != napi_ok) throw PendingException{};
}

// ---- per-environment data -----------------------------------------------------------------------------------

struct Accounts;      // memory.cc: live tensors and what V8 was told of them
struct OperandStack;  // dispatch.cc: the stack of the last call, kept for the next

struct EnvData {
  std::shared_ptr<Accounts> accounts;
  std::shared_ptr<OperandStack> spareStack;
  napi_env env = nullptr;
  napi_ref makeError = nullptr;    // (kind, message, hint, code) => Error, set from TypeScript
  napi_ref collect = nullptr;      // (full: boolean) => void: a garbage collection
  napi_ref callerStack = nullptr;  // () => string: where in the user's code this call comes from
  napi_ref warn = nullptr;         // (text: string) => void
  std::thread::id thread;          // the JavaScript thread
};

EnvData& envData(napi_env env);

// Fills in what memory.cc keeps for an environment.
void setUpMemory(EnvData& data);
// Puts caches of freed blocks in front of the engine's CPU allocator.
void installAllocator();
void keepFreedBlocks(bool keep);  // false: gives big blocks back to the system at once
int64_t bytesInUse();             // in big blocks, also those that only a graph holds
void forgetOldPeak();             // called now and then, so that a peak that does not come again is forgotten
// Runs V8's collector: the minor one, or a full one. Only on the JavaScript thread, inside a call from JavaScript.
void collect(EnvData& data, bool full);

// ---- objects behind externals -------------------------------------------------------------------------------

enum class Kind : uint32_t {
  Tensor = 0x46540001,
  Generator,
  Store,
  ProcessGroup,
  Work,
  Reducer,
  Guard,
  NumberList,
  Function
};

struct Object {
  explicit Object(Kind kind) : kind(kind) {}
  virtual ~Object() = default;
  const Kind kind;
};

// Makes a JavaScript external that owns `object` and deletes it when it is collected (a basic finalizer: it runs inside
// the collection and may not touch JavaScript).
napi_value makeExternal(napi_env env, Object* object);

// The object behind an external of the given kind; throws a JsError that names `what` otherwise.
Object* unwrapObject(napi_env env, napi_value value, Kind kind, const char* what);

template <typename T>
T* unwrap(napi_env env, napi_value value, Kind kind, const char* what) {
  return static_cast<T*>(unwrapObject(env, value, kind, what));
}

// ---- tensors ------------------------------------------------------------------------------------------------

struct TensorHandle final : Object {
  TensorHandle(at::Tensor t, EnvData* data) : Object(Kind::Tensor), tensor(std::move(t)), env(data) {}
  ~TensorHandle() override;
  at::Tensor tensor;  // undefined after release
  EnvData* env;
  int64_t charged = 0;             // bytes of overhead charged for the handle itself
  void* chargedStorage = nullptr;  // key of the storage that this handle holds a share of, or null
  TensorHandle* next = nullptr;    // in the list of spare handles
  bool released = false;
};

// Wraps a tensor; an undefined tensor becomes null. Accounts its storage and may run a minor collection.
napi_value wrapTensor(napi_env env, at::Tensor tensor);
napi_value wrapTensors(napi_env env, const std::vector<at::Tensor>& tensors);  // -> array

// Accounts the storage anew after the handle's tensor was pointed at other data.
void rechargeStorage(TensorHandle* handle);

// The tensor behind a handle; a released one or another value is a named error.
const at::Tensor& tensorOf(napi_env env, napi_value value, const char* what = "argument");
// An array of handles.
std::vector<at::Tensor> tensorsOf(napi_env env, napi_value array, const char* what = "argument");
// null or undefined -> undefined tensor.
at::Tensor optionalTensorOf(napi_env env, napi_value value, const char* what = "argument");

// ---- small conversions --------------------------------------------------------------------------------------

std::string stringOf(napi_env env, napi_value value, const char* what = "argument");
int64_t intOf(napi_env env, napi_value value, const char* what = "argument");  // number (whole) or bigint
double numberOf(napi_env env, napi_value value, const char* what = "argument");
bool boolOf(napi_env env, napi_value value, const char* what = "argument");
std::vector<int64_t> intsOf(napi_env env, napi_value array, const char* what = "argument");
bool isNullish(napi_env env, napi_value value);
napi_value property(napi_env env, napi_value object, const char* name);  // undefined when absent

napi_value jsString(napi_env env, const std::string& text);
napi_value jsNumber(napi_env env, double value);
napi_value jsInt(napi_env env, int64_t value);  // number within 2^53, else bigint
napi_value jsBool(napi_env env, bool value);
napi_value jsUndefined(napi_env env);
napi_value jsNull(napi_env env);
napi_value jsInts(napi_env env, at::IntArrayRef values);

// Dtypes and devices travel as strings: "float32", "cuda:0".
const char* dtypeName(at::ScalarType type);
bool findDtype(const std::string& name, at::ScalarType* type);  // false when there is no such dtype
at::ScalarType dtypeOf(napi_env env, napi_value value, const char* what = "dtype");
at::Device deviceOf(napi_env env, napi_value value, const char* what = "device");

// ---- exported functions -------------------------------------------------------------------------------------

// The arguments of a call, with at most `Max` kept.
template <size_t Max = 8>
struct Args {
  Args(napi_env env, napi_callback_info info) : env(env), count(Max) {
    check(napi_get_cb_info(env, info, &count, values, nullptr, nullptr));
  }
  napi_value operator[](size_t i) const { return i < Max ? values[i] : nullptr; }
  napi_env env;
  size_t count;
  napi_value values[Max];
};

// Turns the exception in flight into a pending JavaScript exception. Call only from a catch block.
void rethrowToJs(napi_env env, const char* where);
// Creates a JavaScript error object of the class `kind`.
napi_value makeJsError(napi_env env, const char* kind, const std::string& message, const std::string& hint = "",
                       const std::string& code = "");
// The same classification for an exception kept by another thread (for promises): {kind, message, hint, code}.
JsError describeException(const std::exception_ptr& error);

// Runs `body` and converts everything it throws. The only bridge between C++ exceptions and JavaScript.
template <typename Body>
napi_value guarded(napi_env env, const char* where, Body&& body) {
  try {
    return body();
  } catch (...) {
    rethrowToJs(env, where);
    return nullptr;
  }
}

using Export = std::pair<const char*, napi_callback>;
// Each file exports its table; module.cc joins them.
const std::vector<Export>& errorExports();
const std::vector<Export>& dispatchExports();
const std::vector<Export>& tensorExports();
const std::vector<Export>& memoryExports();
const std::vector<Export>& autogradExports();
const std::vector<Export>& callbackExports();
const std::vector<Export>& engineExports();
const std::vector<Export>& functionExports();
const std::vector<Export>& autocastExports();
const std::vector<Export>& randomExports();
const std::vector<Export>& cudaExports();
const std::vector<Export>& flopExports();
const std::vector<Export>& matmulPrecisionExports();
const std::vector<Export>& determinismExports();
const std::vector<Export>& distributedExports();
const std::vector<Export>& exchangeExports();
const std::vector<Export>& reducerExports();

}  // namespace fabric
