// The only file with LibTorch version checks: what differs between 1.13 and the newest, under one name.
#pragma once

#if __has_include(<torch/version.h>)
#include <torch/version.h>
#elif __has_include(<torch/csrc/api/include/torch/version.h>)
#include <torch/csrc/api/include/torch/version.h>
#endif

#ifndef TORCH_VERSION_MAJOR
#error "torch/version.h was not found: is this a LibTorch include folder?"
#endif

// FABRIC_TORCH_AT_LEAST(2, 4): true from LibTorch 2.4.0 on.
#define FABRIC_TORCH_AT_LEAST(major, minor) \
  (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

#include <ATen/autocast_mode.h>
#include <ATen/core/function_schema.h>
#include <c10/core/Allocator.h>
#include <c10/core/Device.h>

#include <string>

namespace fabric::compat {

// The declared type of an argument: SymInt and ScalarType are told apart from int.
inline c10::TypePtr declaredType(const c10::Argument& argument) { return argument.real_type(); }

// ---- allocators: `allocate` lost its const in 2.3, `copy_data` came with 2.2 --------------------------------

class CpuAllocator : public c10::Allocator {
 public:
#if FABRIC_TORCH_AT_LEAST(2, 3)
  c10::DataPtr allocate(size_t bytes) override { return allocateBytes(bytes); }
#else
  c10::DataPtr allocate(size_t bytes) const override { return allocateBytes(bytes); }
#endif
#if FABRIC_TORCH_AT_LEAST(2, 2)
  void copy_data(void* target, const void* source, std::size_t count) const override {
    default_copy_data(target, source, count);
  }
#endif

 protected:
  virtual c10::DataPtr allocateBytes(size_t bytes) const = 0;
};

// ---- autocast: one pair of functions per device until 2.4, one for all after ---------------------------------

inline bool autocastEnabled(c10::DeviceType device) {
#if FABRIC_TORCH_AT_LEAST(2, 4)
  return at::autocast::is_autocast_enabled(device);
#else
  return device == c10::kCUDA ? at::autocast::is_enabled() : at::autocast::is_cpu_enabled();
#endif
}

inline at::ScalarType autocastDtype(c10::DeviceType device) {
#if FABRIC_TORCH_AT_LEAST(2, 4)
  return at::autocast::get_autocast_dtype(device);
#else
  return device == c10::kCUDA ? at::autocast::get_autocast_gpu_dtype() : at::autocast::get_autocast_cpu_dtype();
#endif
}

inline void setAutocast(c10::DeviceType device, bool enabled, at::ScalarType dtype) {
#if FABRIC_TORCH_AT_LEAST(2, 4)
  at::autocast::set_autocast_enabled(device, enabled);
  at::autocast::set_autocast_dtype(device, dtype);
#else
  if (device == c10::kCUDA) {
    at::autocast::set_enabled(enabled);
    at::autocast::set_autocast_gpu_dtype(dtype);
  } else {
    at::autocast::set_cpu_enabled(enabled);
    at::autocast::set_autocast_cpu_dtype(dtype);
  }
#endif
}

}  // namespace fabric::compat
