// The part of compat.h that needs c10d's headers, kept apart because they are large: process groups, stores, the
// reducer.
#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "compat.h"

#if FABRIC_TORCH_AT_LEAST(2, 0)
#include <torch/csrc/distributed/c10d/Backend.hpp>
#endif

#include <memory>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fabric::compat {

// What runs collectives: a process group until 1.13, a backend of a process group after.
#if FABRIC_TORCH_AT_LEAST(2, 0)
using Transport = c10d::Backend;
#else
using Transport = c10d::ProcessGroup;
#endif

// The process group that the reducer takes, around a transport for the tensors of one device type.
template <typename Group = c10d::ProcessGroup>
c10::intrusive_ptr<Group> makeProcessGroup(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                           const c10::intrusive_ptr<Transport>& transport, bool nccl) {
#if FABRIC_TORCH_AT_LEAST(2, 0)
  const auto type = nccl ? Group::BackendType::NCCL : Group::BackendType::GLOO;
  c10::intrusive_ptr<Group> group;
  if constexpr (std::is_constructible_v<Group, c10::intrusive_ptr<c10d::Store>, int, int>) {
    group = c10::make_intrusive<Group>(store, rank, size);
    group->setDefaultBackend(type);
  } else {
    group = c10::make_intrusive<Group>(store, rank, size,
                                       c10::make_intrusive<typename Group::Options>(nccl ? "nccl" : "gloo"));
  }
  group->setBackend(nccl ? c10::kCUDA : c10::kCPU, type, transport);
  // Gloo also takes CUDA tensors, through the host.
  if (!nccl) group->setBackend(c10::kCUDA, type, transport);
  return group;
#else
  (void)store, (void)rank, (void)size, (void)nccl;
  return transport;
#endif
}

inline void useClassicServer(c10d::TCPStoreOptions& options) {
#if FABRIC_TORCH_AT_LEAST(2, 2)
  // Not every LibTorch is built with libuv.
  options.useLibUV = false;
#else
  (void)options;
#endif
}

// Whether a TCP store can be given the socket on which it listens.
template <typename Options, typename = void>
struct TakesSocket : std::false_type {};
template <typename Options>
struct TakesSocket<Options, std::void_t<decltype(Options::masterListenFd)>> : std::true_type {};

// Gives it the socket that `bound` makes (-1: none). Without such an option it listens on every interface.
template <typename Options, typename Bound>
void useSocket(Options& options, Bound&& bound) {
  if constexpr (TakesSocket<Options>::value) {
    const int fd = bound(options.port);
    if (fd >= 0) options.masterListenFd = fd;
  } else {
    (void)options, (void)bound;
  }
}

// Everything that any version's reducer asks for.
struct ReducerArguments {
  std::vector<at::Tensor> parameters;
  std::vector<std::vector<size_t>> buckets;
  std::vector<size_t> bucketLimits;
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  std::vector<bool> sparse;
  int64_t bucketBytes;
  bool findUnused;
  bool gradientAsBucketView;
  std::unordered_map<size_t, std::string> names;
  int64_t firstBucketBytes;
};

// A template, so that only reducer.cc needs the reducer's header and only the constructor that exists is compiled.
template <typename Reducer>
std::shared_ptr<Reducer> makeReducer(ReducerArguments a) {
  if constexpr (std::is_constructible_v<Reducer, std::vector<at::Tensor>, std::vector<std::vector<size_t>>,
                                        std::vector<size_t>, c10::intrusive_ptr<c10d::ProcessGroup>, std::vector<bool>,
                                        int64_t, bool, bool, std::unordered_map<size_t, std::string>, int64_t>) {
    return std::make_shared<Reducer>(std::move(a.parameters), std::move(a.buckets), std::move(a.bucketLimits), a.group,
                                     std::move(a.sparse), a.bucketBytes, a.findUnused, a.gradientAsBucketView,
                                     std::move(a.names), a.firstBucketBytes);
  } else {
    return std::make_shared<Reducer>(std::move(a.parameters), std::move(a.buckets), a.group, std::move(a.sparse),
                                     a.bucketBytes, a.findUnused, a.gradientAsBucketView, std::move(a.names),
                                     a.firstBucketBytes, false, false, std::vector<int64_t>{});
  }
}

}  // namespace fabric::compat
