// Room for the many small blocks of LibTorch's registries (some 40 MB) in one go and in huge pages, before it is
// loaded: growing page by page is a tenth of the time that loading takes. Linux with glibc only; elsewhere nothing
// happens.
#include "heap.h"

#if defined(__linux__) && defined(__GLIBC__)
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr size_t kRoom = 48u << 20;
constexpr int kUsualPad = 128 * 1024;
constexpr uintptr_t kHugePage = 2u << 20;
constexpr size_t kBlock = 100000;  // small enough for the heap, not a mapping of its own
constexpr int kMostBlocks = 100;

// The heap grows when it is used up, from now on by `kRoom` more than is needed.
void growHeap(const char* end) {
  mallopt(M_TOP_PAD, kRoom);
  void* blocks[kMostBlocks];
  int count = 0;
  while (count < kMostBlocks && sbrk(0) == end) blocks[count++] = malloc(kBlock);
  while (count > 0) free(blocks[--count]);
}

// Threads other than the first have heaps of their own.
bool isFirstThread() { return syscall(SYS_gettid) == getpid(); }

void widen() {
  const char* end = static_cast<const char*>(sbrk(0));
  growHeap(end);
  const uintptr_t from = (reinterpret_cast<uintptr_t>(end) + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t to = reinterpret_cast<uintptr_t>(sbrk(0)) & ~(kHugePage - 1);
  if (to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
}

}  // namespace
#endif

// widenHeap(): before LibTorch is loaded.
napi_value widenHeap(napi_env, napi_callback_info) {
#if defined(__linux__) && defined(__GLIBC__)
  if (isFirstThread()) widen();
#endif
  return nullptr;
}

// settleHeap(): afterwards; from then on the heap grows by little again.
napi_value settleHeap(napi_env, napi_callback_info) {
#if defined(__linux__) && defined(__GLIBC__)
  if (isFirstThread()) mallopt(M_TOP_PAD, kUsualPad);
#endif
  return nullptr;
}
