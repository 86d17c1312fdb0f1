// See page.h.
#include "page.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

namespace {

constexpr size_t kBytes = 256;
constexpr int kHeart = 1;
constexpr int kPeak = 2;
static_assert(sizeof(std::atomic<int32_t>) == sizeof(int32_t), "a word of the page");

napi_value fail(napi_env env, const char* what) {
  napi_throw_error(env, "ERR_PROCESS", (std::string(what) + ": " + strerror(errno)).c_str());
  return nullptr;
}

// False with a pending exception.
bool descriptorOf(napi_env env, napi_callback_info info, int32_t* fd) {
  napi_value value = nullptr;
  size_t count = 1;
  if (napi_get_cb_info(env, info, &count, &value, nullptr, nullptr) == napi_ok && count > 0 &&
      napi_get_value_int32(env, value, fd) == napi_ok) {
    return true;
  }
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "Expected a file descriptor.");
  return false;
}

int newFile() {
#if defined(__linux__)
  // Some systems insist on the second flag, which older kernels do not know.
  constexpr unsigned int kNoExecSeal = 8;
  const int fd = memfd_create("fabric-rank", MFD_CLOEXEC | kNoExecSeal);
  return fd >= 0 || errno != EINVAL ? fd : memfd_create("fabric-rank", MFD_CLOEXEC);
#else
  char path[] = "/tmp/fabric-rank-XXXXXX";
  const int fd = mkstemp(path);
  if (fd >= 0) unlink(path);
  return fd;
#endif
}

int32_t peakKiB() {
  struct rusage usage {};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#if defined(__APPLE__)
  return static_cast<int32_t>(usage.ru_maxrss / 1024);
#else
  return static_cast<int32_t>(usage.ru_maxrss);
#endif
}

void beat(std::atomic<int32_t>* words) {
  for (;;) {
    words[kHeart].fetch_add(1);
    words[kPeak].store(peakKiB());
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

// Without signals: they belong to the threads that have handlers for them.
void startBeating(std::atomic<int32_t>* words) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(beat, words).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

napi_value createPage(napi_env env, napi_callback_info) {
  const int fd = newFile();
  if (fd < 0) return fail(env, "No memory could be shared with a rank");
  if (ftruncate(fd, kBytes) != 0) {
    const int error = errno;
    close(fd);
    errno = error;
    return fail(env, "No memory could be shared with a rank");
  }
  napi_value result = nullptr;
  napi_create_int32(env, fd, &result);
  return result;
}

napi_value closePage(napi_env env, napi_callback_info info) {
  int32_t fd = -1;
  if (descriptorOf(env, info, &fd)) close(fd);
  return nullptr;
}

napi_value mapPage(napi_env env, napi_callback_info info) {
  int32_t fd = -1;
  if (!descriptorOf(env, info, &fd)) return nullptr;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return fail(env, "The memory shared with the launcher cannot be mapped");
  close(fd);
  // Never unmapped: the thread and JavaScript write to it until the process ends.
  napi_value result = nullptr;
  if (napi_create_external_arraybuffer(env, memory, kBytes, nullptr, nullptr, &result) != napi_ok) {
    munmap(memory, kBytes);
    napi_throw_error(env, "ERR_PROCESS", "This Node cannot show memory of its launcher.");
    return nullptr;
  }
  startBeating(static_cast<std::atomic<int32_t>*>(memory));
  return result;
}
