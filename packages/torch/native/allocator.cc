// The engine's allocator for CPU memory with caches of freed blocks in front. An aligned block from the C library costs
// as much as the arithmetic of a small operator, and a big one is given back to the system and faulted in again at the
// next step; here both are the pop of a list.
//
// Small blocks are kept by each thread, big ones by the process: never so many that the process holds more than it once
// needed at the same time.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#if defined(__APPLE__)
#include <malloc/malloc.h>
#else
#include <malloc.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "compat.h"
#include "handle.h"

namespace fabric {

namespace {

constexpr size_t kAlignment = 64;

void* alignedBlock(size_t size) {
  void* pointer = nullptr;
  return posix_memalign(&pointer, kAlignment, size) == 0 ? pointer : nullptr;
}

// ---- small blocks: up to 4 KiB, kept by the thread that freed them ----------------------------------------------

constexpr size_t kSmallClasses = 64;  // 64, 128, ... 4096 bytes
constexpr size_t kSmall = kSmallClasses * kAlignment;
constexpr size_t kSmallKept = 16 * 1024 * 1024;  // the most that a thread keeps

struct SmallBlock {
  SmallBlock* next;
};

struct SmallCache {
  std::array<SmallBlock*, kSmallClasses> heads{};
  size_t bytes = 0;
  ~SmallCache();
};

thread_local bool threadEnds = false;  // blocks freed after that go to the C library
thread_local SmallCache small;

SmallCache::~SmallCache() {
  threadEnds = true;
  for (SmallBlock* block : heads) {
    while (block) {
      SmallBlock* next = block->next;
      std::free(block);
      block = next;
    }
  }
}

template <size_t Class>
void freeSmall(void* pointer) {
  constexpr size_t size = (Class + 1) * kAlignment;
  if (threadEnds || small.bytes + size > kSmallKept) {
    std::free(pointer);
    return;
  }
  auto* block = static_cast<SmallBlock*>(pointer);
  block->next = small.heads[Class];
  small.heads[Class] = block;
  small.bytes += size;
}

template <size_t... Class>
constexpr std::array<c10::DeleterFnPtr, kSmallClasses> makeDeleters(std::index_sequence<Class...>) {
  return {freeSmall<Class>...};
}
constexpr auto kSmallDeleters = makeDeleters(std::make_index_sequence<kSmallClasses>());

void* allocateSmall(size_t index) {
  const size_t size = (index + 1) * kAlignment;
  SmallBlock* block = small.heads[index];
  if (!block) return alignedBlock(size);
  small.heads[index] = block->next;
  small.bytes -= size;
  return block;
}

// ---- big blocks: eight sizes for each doubling, kept by the process ----------------------------------------------

constexpr size_t kStepsLog2 = 3;
constexpr size_t kFirstLog2 = 12;  // above 4096 bytes
constexpr size_t kLastLog2 = 40;
constexpr size_t kBigClasses = (kLastLog2 - kFirstLog2) << kStepsLog2;
constexpr size_t kLargest = size_t{1} << kLastLog2;
// Sizes differ a little from step to step: what may be kept beyond the most that was ever in use.
constexpr size_t kSlack = 16 * 1024 * 1024;

size_t log2Of(size_t value) { return 63 - static_cast<size_t>(__builtin_clzll(value)); }

// The smallest class that holds `bytes`, and how many bytes its blocks have.
size_t classFor(size_t bytes) {
  const size_t log2 = log2Of(bytes - 1);
  return ((log2 - kFirstLog2) << kStepsLog2) + ((bytes - 1 - (size_t{1} << log2)) >> (log2 - kStepsLog2));
}
size_t sizeOf(size_t index) {
  const size_t log2 = kFirstLog2 + (index >> kStepsLog2);
  const size_t step = (index & ((size_t{1} << kStepsLog2) - 1)) + 1;
  return (size_t{1} << log2) + (step << (log2 - kStepsLog2));
}

// What a block that the C library calls `usable` bytes large was allocated as: it rounds up, by less than a class.
size_t classOf(size_t usable) {
  const size_t above = classFor(usable);
  return sizeOf(above) <= usable ? above : above - 1;
}

size_t usableSize(void* pointer) {
#if defined(__APPLE__)
  return malloc_size(pointer);
#else
  return malloc_usable_size(pointer);
#endif
}

struct BigBlock {
  BigBlock *next, *previous;  // of the same class
  BigBlock *newer, *older;    // of all
};

// A list with an anchor that is no block.
template <BigBlock* BigBlock::*After, BigBlock* BigBlock::*Before>
void link(BigBlock& anchor, BigBlock* block) {
  block->*After = anchor.*After;
  block->*Before = &anchor;
  (anchor.*After)->*Before = block;
  anchor.*After = block;
}
template <BigBlock* BigBlock::*After, BigBlock* BigBlock::*Before>
void unlink(BigBlock* block) {
  (block->*Before)->*After = block->*After;
  (block->*After)->*Before = block->*Before;
}

class BigCache {
 public:
  BigCache() {
    for (BigBlock& anchor : classes_) anchor.next = anchor.previous = &anchor;
    all_.newer = all_.older = &all_;
  }

  void* allocate(size_t bytes) {
    const size_t index = classFor(bytes), size = sizeOf(index);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      take(size);
      BigBlock* block = classes_[index].next;
      if (block != &classes_[index]) return removed(block, size);
    }
    void* pointer = alignedBlock(size);
    if (pointer) return pointer;
    release(true);  // out of memory: what is kept may be what is missing
    pointer = alignedBlock(size);
    if (!pointer) {
      const std::lock_guard<std::mutex> lock(mutex_);
      inUse_ -= size;
    }
    return pointer;
  }

  void free(void* pointer) {
    const size_t index = classOf(usableSize(pointer)), size = sizeOf(index);
    auto* block = static_cast<BigBlock*>(pointer);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      inUse_ -= std::min(inUse_.load(), size);
      link<&BigBlock::next, &BigBlock::previous>(classes_[index], block);
      link<&BigBlock::older, &BigBlock::newer>(all_, block);
      kept_ += size;
    }
    release();
  }

  // Gives the blocks that were freed first back to the system while too many are kept.
  void release(bool all = false) {
    for (;;) {
      BigBlock* oldest;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        oldest = all_.newer;
        if (oldest == &all_ || (!all && keeps_ && kept_ <= most_ - inUse_ + kSlack)) return;
        removed(oldest, sizeOf(classOf(usableSize(oldest))));
      }
      std::free(oldest);
    }
  }

  void keep(bool keeps) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      keeps_ = keeps;
    }
    release();
  }

  size_t inUse() const { return inUse_; }

  // A peak that does not come again is forgotten after a while.
  void forget() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      most_ -= (most_ - inUse_) >> 10;
    }
    release();
  }

 private:
  void take(size_t size) {
    inUse_ += size;
    most_ = std::max(most_, inUse_.load());
  }
  BigBlock* removed(BigBlock* block, size_t size) {
    unlink<&BigBlock::next, &BigBlock::previous>(block);
    unlink<&BigBlock::older, &BigBlock::newer>(block);
    kept_ -= size;
    return block;
  }

  std::mutex mutex_;
  std::array<BigBlock, kBigClasses> classes_;
  BigBlock all_;                  // `newer` of the anchor is the oldest
  std::atomic<size_t> inUse_{0};  // changed under the lock
  size_t most_ = 0, kept_ = 0;
  bool keeps_ = true;
};

// For ever: tensors may outlive everything else.
BigCache& big() {
  static auto* cache = new BigCache;
  return *cache;
}

void freeBig(void* pointer) { big().free(pointer); }

// For oneDNN, which gives its scratch memory back by the address alone.
void freeAny(void* pointer) {
  if (usableSize(pointer) > kSmall + kAlignment) return freeBig(pointer);
  std::free(pointer);
}

// ---- the allocator -----------------------------------------------------------------------------------------------

class CachingAllocator final : public compat::CpuAllocator {
 public:
  explicit CachingAllocator(c10::Allocator* next) : next_(next) {}

  c10::DeleterFnPtr raw_deleter() const override { return freeAny; }

 private:
  c10::DataPtr allocateBytes(size_t bytes) const override {
    const bool isSmall = bytes <= kSmall;
    if (bytes == 0 || bytes > kLargest || (isSmall && threadEnds)) return next_->allocate(bytes);
    const size_t index = (bytes - 1) / kAlignment;
    void* pointer = isSmall ? allocateSmall(index) : big().allocate(bytes);
    if (!pointer) return next_->allocate(bytes);  // fails with the engine's own text
    return {pointer, pointer, isSmall ? kSmallDeleters[index] : freeBig, c10::Device(c10::kCPU)};
  }

  c10::Allocator* next_;
};

}  // namespace

void installAllocator() {
  // The priority beats the engine's default.
  static auto* allocator = new CachingAllocator(c10::GetCPUAllocator());
  c10::SetCPUAllocator(allocator, 1);
#if defined(__GLIBC__)
  // Each big block a mapping of its own: beside others on the heap it would leave gaps that only grow.
  mallopt(M_MMAP_THRESHOLD, 128 * 1024);
  mallopt(M_TRIM_THRESHOLD, 16 * 1024 * 1024);
#endif
}

void keepFreedBlocks(bool keep) { big().keep(keep); }
void forgetOldPeak() { big().forget(); }
int64_t bytesInUse() { return static_cast<int64_t>(big().inUse()); }

}  // namespace fabric
