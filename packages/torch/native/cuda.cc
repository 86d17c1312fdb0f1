// CUDA devices and their caching allocator. In a build for a CPU LibTorch the same names exist and say so.
#include "handle.h"

#ifdef FABRIC_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#endif

namespace fabric {

namespace {

#ifdef FABRIC_WITH_CUDA

c10::DeviceIndex indexOf(napi_env env, napi_value value) {
  const int64_t index = intOf(env, value, "index");
  if (index < 0 || index >= c10::cuda::device_count()) {
    throw JsError("TypeError", "There is no CUDA device " + std::to_string(index) + ": this machine has " +
                                   std::to_string(c10::cuda::device_count()) + ".");
  }
  return static_cast<c10::DeviceIndex>(index);
}

template <typename Use>
napi_value useDevice(napi_env env, napi_callback_info info, const char* where, Use use) {
  return guarded(env, where, [&]() -> napi_value {
    Args<1> a(env, info);
    return use(indexOf(env, a[0]));
  });
}

napi_value cudaDeviceCount(napi_env env, napi_callback_info) {
  return guarded(env, "cudaDeviceCount", [&]() -> napi_value { return jsInt(env, c10::cuda::device_count()); });
}

napi_value cudaCurrentDevice(napi_env env, napi_callback_info) {
  return guarded(env, "cudaCurrentDevice", [&]() -> napi_value { return jsInt(env, c10::cuda::current_device()); });
}

napi_value cudaSetDevice(napi_env env, napi_callback_info info) {
  return useDevice(env, info, "cudaSetDevice", [&](c10::DeviceIndex index) {
    c10::cuda::set_device(index);
    return jsUndefined(env);
  });
}

napi_value cudaSynchronize(napi_env env, napi_callback_info info) {
  return useDevice(env, info, "cudaSynchronize", [&](c10::DeviceIndex index) {
    const c10::DeviceIndex before = c10::cuda::current_device();
    c10::cuda::set_device(index);
    c10::cuda::device_synchronize();
    c10::cuda::set_device(before);
    return jsUndefined(env);
  });
}

napi_value cudaEmptyCache(napi_env env, napi_callback_info) {
  return guarded(env, "cudaEmptyCache", [&]() -> napi_value {
    c10::cuda::CUDACachingAllocator::emptyCache();
    return jsUndefined(env);
  });
}

napi_value cudaClearCublasWorkspaces(napi_env env, napi_callback_info) {
  return guarded(env, "cudaClearCublasWorkspaces", [&]() -> napi_value {
#if __has_include(<ATen/cuda/CUDAContextLight.h>)
    at::cuda::clearCublasWorkspaces();
#endif
    return jsUndefined(env);
  });
}

napi_value cudaMemoryStats(napi_env env, napi_callback_info info) {
  return useDevice(env, info, "cudaMemoryStats", [&](c10::DeviceIndex index) {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(index);
    napi_value result;
    check(napi_create_object(env, &result));
    check(napi_set_named_property(env, result, "allocated", jsInt(env, stats.allocated_bytes[0].current)));
    check(napi_set_named_property(env, result, "reserved", jsInt(env, stats.reserved_bytes[0].current)));
    check(napi_set_named_property(env, result, "peakAllocated", jsInt(env, stats.allocated_bytes[0].peak)));
    return result;
  });
}

napi_value cudaResetPeakMemoryStats(napi_env env, napi_callback_info info) {
  return useDevice(env, info, "cudaResetPeakMemoryStats", [&](c10::DeviceIndex index) {
    c10::cuda::CUDACachingAllocator::resetPeakStats(index);
    return jsUndefined(env);
  });
}

napi_value cudaDeviceName(napi_env env, napi_callback_info info) {
  return useDevice(env, info, "cudaDeviceName",
                   [&](c10::DeviceIndex index) { return jsString(env, at::cuda::getDeviceProperties(index)->name); });
}

napi_value cudaCapability(napi_env env, napi_callback_info info) {
  return useDevice(env, info, "cudaCapability", [&](c10::DeviceIndex index) {
    const auto* properties = at::cuda::getDeviceProperties(index);
    return jsInts(env, {properties->major, properties->minor});
  });
}

// Tensors that JavaScript has dropped but not yet collected hold device memory: collect before the engine gives up.
thread_local EnvData* collecting = nullptr;

class CollectBeforeFailing final : public c10::FreeMemoryCallback {
 public:
  bool Execute() override {
    if (!collecting || collecting->thread != std::this_thread::get_id()) return false;
    EnvData* data = collecting;
    collecting = nullptr;  // not again from inside
    collect(*data, true);
    collecting = data;
    return true;
  }
};
// The macro names both without their namespace.
using c10::FreeCudaMemoryCallbacksRegistry;
using c10::RegistererFreeCudaMemoryCallbacksRegistry;
C10_REGISTER_CLASS(FreeCudaMemoryCallbacksRegistry, fabric_collect, CollectBeforeFailing)

napi_value cudaCollectOnPressure(napi_env env, napi_callback_info) {
  return guarded(env, "cudaCollectOnPressure", [&]() -> napi_value {
    collecting = &envData(env);
    return jsUndefined(env);
  });
}

#else

napi_value cudaDeviceCount(napi_env env, napi_callback_info) {
  return guarded(env, "cudaDeviceCount", [&]() -> napi_value { return jsInt(env, 0); });
}

napi_value withoutCuda(napi_env env, napi_callback_info) {
  return guarded(env, "cuda", [&]() -> napi_value {
    throw JsError("NotSupportedError", "The LibTorch in use was built without CUDA.",
                  "Point FABRIC_LIBTORCH at a CUDA build of LibTorch and run `npm run setup`.");
  });
}

napi_value nothing(napi_env env, napi_callback_info) { return jsUndefined(env); }

#endif

}  // namespace

const std::vector<Export>& cudaExports() {
#ifdef FABRIC_WITH_CUDA
  static const std::vector<Export> table = {{"cudaDeviceCount", cudaDeviceCount},
                                            {"cudaCurrentDevice", cudaCurrentDevice},
                                            {"cudaSetDevice", cudaSetDevice},
                                            {"cudaSynchronize", cudaSynchronize},
                                            {"cudaEmptyCache", cudaEmptyCache},
                                            {"cudaClearCublasWorkspaces", cudaClearCublasWorkspaces},
                                            {"cudaMemoryStats", cudaMemoryStats},
                                            {"cudaResetPeakMemoryStats", cudaResetPeakMemoryStats},
                                            {"cudaDeviceName", cudaDeviceName},
                                            {"cudaCapability", cudaCapability},
                                            {"cudaCollectOnPressure", cudaCollectOnPressure}};
#else
  static const std::vector<Export> table = {{"cudaDeviceCount", cudaDeviceCount},
                                            {"cudaCurrentDevice", withoutCuda},
                                            {"cudaSetDevice", withoutCuda},
                                            {"cudaSynchronize", withoutCuda},
                                            {"cudaEmptyCache", nothing},
                                            {"cudaMemoryStats", withoutCuda},
                                            {"cudaResetPeakMemoryStats", withoutCuda},
                                            {"cudaDeviceName", withoutCuda},
                                            {"cudaCapability", withoutCuda},
                                            {"cudaCollectOnPressure", nothing},
                                            {"cudaClearCublasWorkspaces", nothing}};
#endif
  return table;
}

}  // namespace fabric
