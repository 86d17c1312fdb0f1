// How C++ exceptions become JavaScript errors, and the small conversions that every file uses.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "callbacks.h"
#include "compat.h"
#include "transport-error.h"

namespace fabric {

// ---- errors -------------------------------------------------------------------------------------------------

napi_value makeJsError(napi_env env, const char* kind, const std::string& message, const std::string& hint,
                       const std::string& code) {
  EnvData& data = envData(env);
  napi_value factory = nullptr, receiver, result = nullptr;
  if (data.makeError) check(napi_get_reference_value(env, data.makeError, &factory));
  if (!factory) {
    check(napi_create_error(env, nullptr, jsString(env, message), &result));
    return result;
  }
  check(napi_get_undefined(env, &receiver));
  napi_value args[] = {jsString(env, kind), jsString(env, message), jsString(env, hint), jsString(env, code)};
  check(napi_call_function(env, receiver, factory, 4, args, &result));
  return result;
}

// The useful part of an engine error: without the C++ backtrace unless FABRIC_DEBUG=1 asks for it.
static std::string engineText(const c10::Error& error) {
  static const bool debug = [] {
    const char* value = std::getenv("FABRIC_DEBUG");
    return value && std::strcmp(value, "0") != 0 && *value;
  }();
  std::string text = debug ? error.what() : error.what_without_backtrace();
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  // What the engine tells Python's users to type, in our words.
  static constexpr std::pair<const char*, const char*> kSpelled[] = {
      {"retain_graph=True", "{ retainGraph: true }"},
      {"allow_unused=True", "{ allowUnused: true }"},
      {"torch.autograd.set_detect_anomaly(True)", "`autograd.detectAnomaly()`"},
      {"'torch.use_deterministic_algorithms(True)'", "`torch.useDeterministicAlgorithms(true)`"},
      {"'warn_only=True'", "`{ warnOnly: true }`"}};
  for (const auto& [python, ours] : kSpelled) {
    const size_t at = text.find(python);
    if (at != std::string::npos) text.replace(at, std::strlen(python), ours);
  }
  return text;
}

// What to do, where the engine's sentence does not say it.
static std::string adviceFor(const std::string& text) {
  if (text.find("a leaf Variable that requires grad") != std::string::npos)
    return "Change parameters outside of the graph: `torch.noGrad(() => parameter.mul_(0.9))`.";
  if (text.find("Found dtype ") == std::string::npos || text.find(" but expected ") == std::string::npos) return "";
  return "Some operation of the forward pass got tensors of two dtypes: often a loss, whose target has another dtype "
         "than the "
         "model's output. Convert one of them: `target.to(output.dtype)`.";
}

// "Could not run 'aten::empty' with arguments from the 'CUDA' backend. This could be because ..." and sixty lines more.
static JsError missingKernel(const c10::Error& error) {
  const std::string text = engineText(error);
  const size_t end = text.find("backend. ");
  return JsError(
      "NotSupportedError", end == std::string::npos ? text : text.substr(0, end + 8),
      "This LibTorch has no such operator for that device. `npx fabric doctor` shows which devices it knows; "
      "FABRIC_LIBTORCH=/path and `npm run setup` choose another LibTorch.");
}

JsError describeException(const std::exception_ptr& pointer) {
  try {
    std::rethrow_exception(pointer);
  } catch (const JsError& error) {
    return error;
  } catch (const c10::OutOfMemoryError& error) {
    return JsError("TorchError", engineText(error), "Use a smaller batch or free tensors that are no longer needed.",
                   "ERR_OUT_OF_MEMORY");
  } catch (const c10::NotImplementedError& error) {
    return missingKernel(error);
  } catch (const c10::Error& error) {
    const std::string text = engineText(error);
    return JsError("TorchError", text, adviceFor(text));
  } catch (const std::bad_alloc&) {
    return JsError("TorchError", "The process is out of memory.", "", "ERR_OUT_OF_MEMORY");
  } catch (const std::exception& error) {
    return engineOrTransportError(error.what());
  } catch (...) {
    return JsError("TorchError", "internal: an exception of an unknown type reached JavaScript");
  }
}

void rethrowToJs(napi_env env, const char* where) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) return;
  try {
    throw;
  } catch (const PendingException&) {
    // A Node-API call failed without leaving an exception: only a bug of ours does that.
    napi_throw_error(env, "ERR_INTERNAL", (std::string("internal: a Node-API call failed in ") + where).c_str());
  } catch (const JsThrew& error) {
    napi_throw(env, error.error->value());
  } catch (...) {
    try {
      const JsError error = describeException(std::current_exception());
      napi_throw(env, makeJsError(env, error.kind, error.what(), error.hint, error.code));
    } catch (...) {
      napi_is_exception_pending(env, &pending);
      if (!pending) napi_throw_error(env, "ERR_INTERNAL", where);
    }
  }
}

// ---- small conversions --------------------------------------------------------------------------------------

static JsError wrongType(const char* what, const char* expected) {
  return JsError("TypeError", std::string("Expected `") + what + "` to be " + expected + ".");
}

std::string stringOf(napi_env env, napi_value value, const char* what) {
  size_t length = 0;
  if (!value || napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) {
    throw wrongType(what, "a string");
  }
  std::string text(length, '\0');
  check(napi_get_value_string_utf8(env, value, text.data(), length + 1, &length));
  return text;
}

double numberOf(napi_env env, napi_value value, const char* what) {
  double number = 0;
  if (!value || napi_get_value_double(env, value, &number) != napi_ok) throw wrongType(what, "a number");
  return number;
}

int64_t intOf(napi_env env, napi_value value, const char* what) {
  napi_valuetype type = napi_undefined;
  if (value) check(napi_typeof(env, value, &type));
  if (type == napi_bigint) {
    int64_t result = 0;
    bool lossless = false;
    check(napi_get_value_bigint_int64(env, value, &result, &lossless));
    if (lossless) return result;
    // Seeds are unsigned: keep their bits.
    uint64_t bits = 0;
    check(napi_get_value_bigint_uint64(env, value, &bits, &lossless));
    if (!lossless) throw wrongType(what, "an integer of at most 64 bits");
    return static_cast<int64_t>(bits);
  }
  if (type != napi_number) throw wrongType(what, "a whole number");
  const double number = numberOf(env, value, what);
  if (std::trunc(number) != number || std::fabs(number) > 9007199254740992.0) throw wrongType(what, "a whole number");
  return static_cast<int64_t>(number);
}

bool boolOf(napi_env env, napi_value value, const char* what) {
  bool result = false;
  if (!value || napi_get_value_bool(env, value, &result) != napi_ok) throw wrongType(what, "a boolean");
  return result;
}

bool isNullish(napi_env env, napi_value value) {
  if (!value) return true;
  napi_valuetype type;
  check(napi_typeof(env, value, &type));
  return type == napi_undefined || type == napi_null;
}

static uint32_t lengthOf(napi_env env, napi_value array, const char* what) {
  uint32_t length = 0;
  if (!array || napi_get_array_length(env, array, &length) != napi_ok) throw wrongType(what, "an array");
  return length;
}

std::vector<int64_t> intsOf(napi_env env, napi_value array, const char* what) {
  std::vector<int64_t> result(lengthOf(env, array, what));
  for (uint32_t i = 0; i < result.size(); i++) {
    napi_value item;
    check(napi_get_element(env, array, i, &item));
    result[i] = intOf(env, item, what);
  }
  return result;
}

std::vector<at::Tensor> tensorsOf(napi_env env, napi_value array, const char* what) {
  std::vector<at::Tensor> result(lengthOf(env, array, what));
  for (uint32_t i = 0; i < result.size(); i++) {
    napi_value item;
    check(napi_get_element(env, array, i, &item));
    result[i] = optionalTensorOf(env, item, what);
  }
  return result;
}

napi_value property(napi_env env, napi_value object, const char* name) {
  napi_value result;
  check(napi_get_named_property(env, object, name, &result));
  return result;
}

napi_value jsString(napi_env env, const std::string& text) {
  napi_value result;
  check(napi_create_string_utf8(env, text.data(), text.size(), &result));
  return result;
}

napi_value jsNumber(napi_env env, double value) {
  napi_value result;
  check(napi_create_double(env, value, &result));
  return result;
}

napi_value jsInt(napi_env env, int64_t value) {
  napi_value result;
  if (value > 9007199254740992 || value < -9007199254740992) {
    check(napi_create_bigint_int64(env, value, &result));
  } else {
    check(napi_create_int64(env, value, &result));
  }
  return result;
}

napi_value jsBool(napi_env env, bool value) {
  napi_value result;
  check(napi_get_boolean(env, value, &result));
  return result;
}

napi_value jsUndefined(napi_env env) {
  napi_value result;
  check(napi_get_undefined(env, &result));
  return result;
}

napi_value jsNull(napi_env env) {
  napi_value result;
  check(napi_get_null(env, &result));
  return result;
}

napi_value jsInts(napi_env env, at::IntArrayRef values) {
  napi_value result;
  check(napi_create_array_with_length(env, values.size(), &result));
  for (uint32_t i = 0; i < values.size(); i++) check(napi_set_element(env, result, i, jsInt(env, values[i])));
  return result;
}

static constexpr std::pair<at::ScalarType, const char*> kDtypes[] = {
    {at::kFloat, "float32"},
    {at::kDouble, "float64"},
    {at::kHalf, "float16"},
    {at::kBFloat16, "bfloat16"},
    {at::kLong, "int64"},
    {at::kInt, "int32"},
    {at::kShort, "int16"},
    {at::kChar, "int8"},
    {at::kByte, "uint8"},
    {at::kBool, "bool"},
    {at::kComplexFloat, "complex64"},
    {at::kComplexDouble, "complex128"},
    {at::ScalarType::ComplexHalf, "complex32"},
    {at::kQInt8, "qint8"},
    {at::kQUInt8, "quint8"},
    {at::kQInt32, "qint32"},
};

const char* dtypeName(at::ScalarType type) {
  for (const auto& [known, name] : kDtypes) {
    if (known == type) return name;
  }
  return c10::toString(type);
}

bool findDtype(const std::string& name, at::ScalarType* type) {
  for (const auto& [known, text] : kDtypes) {
    if (name == text) {
      *type = known;
      return true;
    }
  }
  return false;
}

at::ScalarType dtypeOf(napi_env env, napi_value value, const char* what) {
  const std::string name = stringOf(env, value, what);
  at::ScalarType type;
  if (findDtype(name, &type)) return type;
  std::string hint = "Dtypes are strings without `torch.` in front: ";
  for (const auto& entry : kDtypes) hint += std::string(entry.second) + (entry.first == at::kQInt32 ? "." : ", ");
  throw JsError("TypeError", std::string("`") + what + "` is \"" + name + "\", which is no dtype.", hint);
}

at::Device deviceOf(napi_env env, napi_value value, const char* what) {
  const std::string name = stringOf(env, value, what);
  try {
    return at::Device(name);
  } catch (const c10::Error&) {
    throw JsError("TypeError", std::string("`") + what + "` is \"" + name + "\", which is no device.",
                  "Devices are strings such as \"cpu\", \"cuda\" or \"cuda:1\".");
  }
}

// ---- exports ------------------------------------------------------------------------------------------------

// setup(makeError, collect, callerStack, warn): what the addon calls back into.
static napi_value setup(napi_env env, napi_callback_info info) {
  return guarded(env, "setup", [&]() -> napi_value {
    Args<4> a(env, info);
    EnvData& data = envData(env);
    check(napi_create_reference(env, a[0], 1, &data.makeError));
    check(napi_create_reference(env, a[1], 1, &data.collect));
    check(napi_create_reference(env, a[2], 1, &data.callerStack));
    check(napi_create_reference(env, a[3], 1, &data.warn));
    return jsUndefined(env);
  });
}

static napi_value versions(napi_env env, napi_callback_info) {
  return guarded(env, "versions", [&]() -> napi_value {
    napi_value result;
    check(napi_create_object(env, &result));
    auto set = [&](const char* name, napi_value value) { check(napi_set_named_property(env, result, name, value)); };
    set("torch", jsString(env, TORCH_VERSION));
#if defined(_GLIBCXX_USE_CXX11_ABI) && _GLIBCXX_USE_CXX11_ABI
    set("cxxAbi", jsBool(env, true));
#else
    set("cxxAbi", jsBool(env, false));
#endif
#ifdef FABRIC_WITH_CUDA
    set("cuda", jsBool(env, true));
#else
    set("cuda", jsBool(env, false));
#endif
#ifdef FABRIC_WITH_NCCL
    set("nccl", jsBool(env, true));
#else
    set("nccl", jsBool(env, false));
#endif
#ifdef FABRIC_WITH_GLOO
    set("gloo", jsBool(env, true));
#else
    set("gloo", jsBool(env, false));
#endif
    set("config", jsString(env, at::show_config()));
    set("parallelInfo", jsString(env, at::get_parallel_info()));
    return result;
  });
}

const std::vector<Export>& errorExports() {
  static const std::vector<Export> table = {{"setup", setup}, {"versions", versions}};
  return table;
}

}  // namespace fabric
