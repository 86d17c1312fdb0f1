// Metadata of tensors, reading their elements back, and making tensors from bytes. Operators are in dispatch.cc.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/ScalarTypeToTypeMeta.h>

#include <cmath>
#include <cstring>

#include "handle.h"

namespace fabric {

namespace {

// An export that reads one property of the tensor given first.
template <typename Read>
napi_value readTensor(napi_env env, napi_callback_info info, const char* where, Read read) {
  return guarded(env, where, [&]() -> napi_value {
    Args<1> a(env, info);
    return read(tensorOf(env, a[0], "tensor"));
  });
}

napi_value shape(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "shape", [&](const at::Tensor& t) { return jsInts(env, t.sizes()); });
}
napi_value strides(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "strides", [&](const at::Tensor& t) { return jsInts(env, t.strides()); });
}
napi_value dtype(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "dtype", [&](const at::Tensor& t) { return jsString(env, dtypeName(t.scalar_type())); });
}
napi_value device(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "device", [&](const at::Tensor& t) { return jsString(env, t.device().str()); });
}
napi_value numel(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "numel", [&](const at::Tensor& t) { return jsInt(env, t.numel()); });
}
napi_value elementSize(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "elementSize", [&](const at::Tensor& t) { return jsInt(env, t.element_size()); });
}
napi_value storageOffset(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "storageOffset", [&](const at::Tensor& t) { return jsInt(env, t.storage_offset()); });
}
napi_value isContiguous(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "isContiguous", [&](const at::Tensor& t) { return jsBool(env, t.is_contiguous()); });
}
napi_value isSparse(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "isSparse", [&](const at::Tensor& t) {
    return jsBool(env, t.layout() != at::kStrided && t.layout() != at::kMkldnn);
  });
}
napi_value isLeaf(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "isLeaf", [&](const at::Tensor& t) { return jsBool(env, t.is_leaf()); });
}
napi_value requiresGrad(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "requiresGrad", [&](const at::Tensor& t) { return jsBool(env, t.requires_grad()); });
}
napi_value version(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "version", [&](const at::Tensor& t) { return jsInt(env, t._version()); });
}
napi_value alias(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "alias", [&](const at::Tensor& t) { return wrapTensor(env, t); });
}

napi_value isSame(napi_env env, napi_callback_info info) {
  return guarded(env, "isSame", [&]() -> napi_value {
    Args<2> a(env, info);
    return jsBool(env, tensorOf(env, a[0]).is_same(tensorOf(env, a[1])));
  });
}

napi_value setRequiresGrad(napi_env env, napi_callback_info info) {
  return guarded(env, "setRequiresGrad", [&]() -> napi_value {
    Args<2> a(env, info);
    const at::Tensor& tensor = tensorOf(env, a[0], "tensor");
    const bool value = boolOf(env, a[1], "requiresGrad");
    if (!tensor.is_leaf() && !value) {
      throw JsError("UsageError",
                    "`requiresGrad` can only be switched off on leaf tensors; this one is the result of an operation.",
                    "Use `tensor.detach()` for a tensor that takes no part in the gradient.");
    }
    if (value && !at::isFloatingType(tensor.scalar_type()) && !at::isComplexType(tensor.scalar_type())) {
      throw JsError("UsageError",
                    std::string("Only floating-point and complex tensors can require gradients; this one is ") +
                        dtypeName(tensor.scalar_type()) + ".",
                    "Convert it first, for example with `.to(\"float32\")`.");
    }
    tensor.set_requires_grad(value);
    return jsUndefined(env);
  });
}

// ---- elements -----------------------------------------------------------------------------------------------

napi_value item(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "item", [&](const at::Tensor& t) -> napi_value {
    if (t.numel() != 1) {
      throw JsError(
          "UsageError",
          "`item()` needs a tensor with exactly one element, but this one has " + std::to_string(t.numel()) + ".",
          "Reduce it first, or use `tolist()`.");
    }
    const at::Scalar value = t.item();
    if (value.isBoolean()) return jsBool(env, value.toBool());
    if (value.isIntegral(false)) return jsInt(env, value.toLong());
    if (!value.isComplex()) return jsNumber(env, value.toDouble());
    const auto number = value.toComplexDouble();
    napi_value result;
    check(napi_create_object(env, &result));
    check(napi_set_named_property(env, result, "re", jsNumber(env, number.real())));
    check(napi_set_named_property(env, result, "im", jsNumber(env, number.imag())));
    return result;
  });
}

napi_value arrayBufferOf(napi_env env, const void* bytes, size_t length) {
  napi_value result;
  void* target = nullptr;
  check(napi_create_arraybuffer(env, length, &target, &result));
  if (length > 0) std::memcpy(target, bytes, length);
  return result;
}

napi_value readBytes(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "readBytes", [&](const at::Tensor& t) -> napi_value {
    const at::Tensor flat = t.detach().to(at::kCPU).resolve_conj().resolve_neg().contiguous();
    return arrayBufferOf(env, flat.data_ptr(), flat.numel() * flat.element_size());
  });
}

struct Bytes {
  const void* data = nullptr;
  size_t length = 0;
};

Bytes bytesOf(napi_env env, napi_value value) {
  Bytes result;
  bool matches = false;
  void* data = nullptr;
  check(napi_is_arraybuffer(env, value, &matches));
  if (matches) {
    check(napi_get_arraybuffer_info(env, value, &data, &result.length));
    result.data = data;
    return result;
  }
  check(napi_is_typedarray(env, value, &matches));
  if (!matches) throw JsError("TypeError", "Expected `bytes` to be a typed array or an ArrayBuffer.");
  napi_typedarray_type type;
  size_t length = 0;
  check(napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr));
  size_t width = 1;
  switch (type) {
    case napi_int16_array:
    case napi_uint16_array:
      width = 2;
      break;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array:
      width = 4;
      break;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array:
      width = 8;
      break;
    default:
      break;
  }
  result.data = data;
  result.length = length * width;
  return result;
}

napi_value fromBytes(napi_env env, napi_callback_info info) {
  return guarded(env, "fromBytes", [&]() -> napi_value {
    Args<3> a(env, info);
    const Bytes bytes = bytesOf(env, a[0]);
    const at::ScalarType type = dtypeOf(env, a[1]);
    const std::vector<int64_t> sizes = intsOf(env, a[2], "shape");
    const at::Tensor tensor = at::empty(sizes, at::TensorOptions(type).device(at::kCPU));
    const size_t needed = tensor.numel() * tensor.element_size();
    if (needed != bytes.length) {
      throw JsError("TypeError", "The data has " + std::to_string(bytes.length) + " bytes, but the shape needs " +
                                     std::to_string(needed) + ".");
    }
    if (needed > 0) std::memcpy(tensor.data_ptr(), bytes.data, needed);
    return wrapTensor(env, tensor);
  });
}

napi_value storageInfo(napi_env env, napi_callback_info info) {
  return readTensor(env, info, "storageInfo", [&](const at::Tensor& t) -> napi_value {
    napi_value result, key;
    check(napi_create_object(env, &result));
    const auto* storage = t.storage().unsafeGetStorageImpl();
    check(napi_create_bigint_uint64(env, reinterpret_cast<uintptr_t>(storage), &key));
    check(napi_set_named_property(env, result, "key", key));
    check(napi_set_named_property(env, result, "nbytes", jsInt(env, t.storage().nbytes())));
    return result;
  });
}

napi_value readStorage(napi_env env, napi_callback_info info) {
  return guarded(env, "readStorage", [&]() -> napi_value {
    Args<3> a(env, info);
    const at::Tensor& tensor = tensorOf(env, a[0], "tensor");
    const int64_t offset = intOf(env, a[1], "offset"), length = intOf(env, a[2], "length");
    const int64_t total = tensor.storage().nbytes();
    if (offset < 0 || length < 0 || offset > total || length > total - offset) {
      throw JsError("TypeError",
                    "The bytes asked for lie outside of the storage of " + std::to_string(total) + " bytes.");
    }
    // The whole storage as bytes, wherever it lives.
    at::Tensor bytes = at::empty({0}, tensor.options().dtype(at::kByte).requires_grad(false));
    bytes.set_(tensor.storage(), offset, {length}, {1});
    bytes = bytes.to(at::kCPU);
    return arrayBufferOf(env, bytes.data_ptr(), length);
  });
}

// ---- settings -----------------------------------------------------------------------------------------------

napi_value setDefaultDtype(napi_env env, napi_callback_info info) {
  return guarded(env, "setDefaultDtype", [&]() -> napi_value {
    Args<1> a(env, info);
    const at::ScalarType type = dtypeOf(env, a[0]);
    if (!at::isFloatingType(type)) {
      throw JsError("TypeError",
                    std::string("The default dtype must be a floating-point type, but got ") + dtypeName(type) + ".");
    }
    c10::set_default_dtype(c10::scalarTypeToTypeMeta(type));
    return jsUndefined(env);
  });
}

napi_value getDefaultDtype(napi_env env, napi_callback_info) {
  return guarded(env, "getDefaultDtype", [&]() -> napi_value {
    return jsString(env, dtypeName(c10::typeMetaToScalarType(c10::get_default_dtype())));
  });
}

napi_value setNumThreads(napi_env env, napi_callback_info info) {
  return guarded(env, "setNumThreads", [&]() -> napi_value {
    Args<1> a(env, info);
    at::set_num_threads(static_cast<int>(intOf(env, a[0], "threads")));
    return jsUndefined(env);
  });
}

napi_value getNumThreads(napi_env env, napi_callback_info) {
  return guarded(env, "getNumThreads", [&]() -> napi_value { return jsInt(env, at::get_num_threads()); });
}

napi_value setNumInteropThreads(napi_env env, napi_callback_info info) {
  return guarded(env, "setNumInteropThreads", [&]() -> napi_value {
    Args<1> a(env, info);
    at::set_num_interop_threads(static_cast<int>(intOf(env, a[0], "threads")));
    return jsUndefined(env);
  });
}

napi_value power(napi_env env, napi_callback_info info) {
  return guarded(env, "pow", [&]() -> napi_value {
    Args<2> a(env, info);
    return jsNumber(env, std::pow(numberOf(env, a[0]), numberOf(env, a[1])));
  });
}

}  // namespace

const std::vector<Export>& tensorExports() {
  static const std::vector<Export> table = {{"shape", shape},
                                            {"strides", strides},
                                            {"dtype", dtype},
                                            {"device", device},
                                            {"numel", numel},
                                            {"elementSize", elementSize},
                                            {"storageOffset", storageOffset},
                                            {"isContiguous", isContiguous},
                                            {"isSparse", isSparse},
                                            {"isLeaf", isLeaf},
                                            {"requiresGrad", requiresGrad},
                                            {"setRequiresGrad", setRequiresGrad},
                                            {"version", version},
                                            {"alias", alias},
                                            {"isSame", isSame},
                                            {"item", item},
                                            {"readBytes", readBytes},
                                            {"fromBytes", fromBytes},
                                            {"storageInfo", storageInfo},
                                            {"readStorage", readStorage},
                                            {"setDefaultDtype", setDefaultDtype},
                                            {"getDefaultDtype", getDefaultDtype},
                                            {"setNumThreads", setNumThreads},
                                            {"getNumThreads", getNumThreads},
                                            {"setNumInteropThreads", setNumInteropThreads},
                                            {"pow", power}};
  return table;
}

}  // namespace fabric
