// The engine's allocator for CPU memory with a cache of small blocks in front. An aligned block from the C library
// costs as much as the arithmetic of a small operator; here it is the pop of a list. Big blocks go on to the engine's
// own allocator (and stay in the process, see keepFreedBlocks in memory.cc).
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "compat.h"
#include "handle.h"

namespace fabric {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kClasses = 64;  // 64, 128, ... 4096 bytes
constexpr size_t kSmall = kClasses * kAlignment;
constexpr size_t kKeptBytes = 16 * 1024 * 1024;  // the most that a thread keeps

struct FreeBlock {
  FreeBlock* next;
};

// Freed blocks of one thread. A block may be freed on another thread than it came from: it then serves that one.
struct Cache {
  std::array<FreeBlock*, kClasses> heads{};
  size_t bytes = 0;
  ~Cache();
};

thread_local bool cacheIsGone = false;  // set when the thread ends: blocks freed after that go to the C library
thread_local Cache cache;

Cache::~Cache() {
  cacheIsGone = true;
  for (FreeBlock* block : heads) {
    while (block) {
      FreeBlock* next = block->next;
      std::free(block);
      block = next;
    }
  }
}

template <size_t Class>
void freeBlock(void* pointer) {
  constexpr size_t size = (Class + 1) * kAlignment;
  if (cacheIsGone || cache.bytes + size > kKeptBytes) {
    std::free(pointer);
    return;
  }
  auto* block = static_cast<FreeBlock*>(pointer);
  block->next = cache.heads[Class];
  cache.heads[Class] = block;
  cache.bytes += size;
}

template <size_t... Class>
constexpr std::array<c10::DeleterFnPtr, kClasses> makeDeleters(std::index_sequence<Class...>) {
  return {freeBlock<Class>...};
}
constexpr auto kDeleters = makeDeleters(std::make_index_sequence<kClasses>());

class CachingAllocator final : public compat::CpuAllocator {
 public:
  explicit CachingAllocator(c10::Allocator* next) : next_(next) {}

  // oneDNN's scratch memory is given back without its deleter; blocks of both kinds come from the C library.
  c10::DeleterFnPtr raw_deleter() const override { return std::free; }

 private:
  c10::DataPtr allocateBytes(size_t bytes) const override {
    if (bytes == 0 || bytes > kSmall || cacheIsGone) return next_->allocate(bytes);
    const size_t index = (bytes - 1) / kAlignment, size = (index + 1) * kAlignment;
    void* pointer = cache.heads[index];
    if (pointer) {
      cache.heads[index] = cache.heads[index]->next;
      cache.bytes -= size;
    } else if (posix_memalign(&pointer, kAlignment, size) != 0) {
      return next_->allocate(bytes);  // fails with the engine's own text
    }
    return {pointer, pointer, kDeleters[index], c10::Device(c10::kCPU)};
  }

  c10::Allocator* next_;
};

}  // namespace

void installAllocator() {
  // One for the process, for ever: tensors may outlive everything else. The priority beats the engine's default.
  static auto* allocator = new CachingAllocator(c10::GetCPUAllocator());
  c10::SetCPUAllocator(allocator, 1);
}

}  // namespace fabric
