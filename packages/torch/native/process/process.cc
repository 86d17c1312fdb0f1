// fabric_process.node: what a launched rank asks of the operating system and Node does not offer. It dies with its
// launcher, it shows the launcher where it is, it leaves without running static destructors, it leaves at a deadline
// even while the JavaScript thread is blocked, and a thread of it that ends says so. Knows nothing of LibTorch: it has
// to be in the process before anything else is, and to cost nothing.
#include <node_api.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "heap.h"
#include "page.h"

#if defined(__linux__)
#include <sys/prctl.h>
#elif defined(__APPLE__) || defined(__FreeBSD__)
#include <sys/event.h>
#include <sys/types.h>
#endif

namespace {

// What the shell reports for a process that SIGKILL ended: the launcher is gone, nobody else will read it.
constexpr int kOrphanExitCode = 128 + SIGKILL;

napi_value fail(napi_env env, const char* text) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
  return nullptr;
}

// The arguments of a call as whole numbers; false (and a pending TypeError) when there are too few or they are none.
template <size_t N>
bool integers(napi_env env, napi_callback_info info, const char* text, int64_t (&out)[N]) {
  napi_value values[N];
  size_t count = N;
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) == napi_ok && count >= N) {
    size_t good = 0;
    while (good < N && napi_get_value_int64(env, values[good], &out[good]) == napi_ok) good++;
    if (good == N) return true;
  }
  fail(env, text);
  return false;
}

napi_value undefined(napi_env env) {
  napi_value result = nullptr;
  napi_get_undefined(env, &result);
  return result;
}

#if !defined(__linux__)
// Without PR_SET_PDEATHSIG a thread waits for the launcher's end.
void waitForEndOf(pid_t parent) {
#if defined(__APPLE__) || defined(__FreeBSD__)
  const int queue = kqueue();
  struct kevent change;
  EV_SET(&change, parent, EVFILT_PROC, EV_ADD | EV_ENABLE | EV_ONESHOT, NOTE_EXIT, 0, nullptr);
  struct kevent event;
  if (queue >= 0) {
    while (getppid() == parent) {
      const int n = kevent(queue, &change, 1, &event, 1, nullptr);
      if (n > 0 || (n < 0 && errno != EINTR)) break;
    }
  }
#endif
  while (getppid() == parent) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  _exit(kOrphanExitCode);
}
#endif

// dieWithParent(pid): from now on the process dies when its parent does. It ends at once if `pid` is no longer its
// parent.
napi_value dieWithParent(napi_env env, napi_callback_info info) {
  int64_t args[1];
  if (!integers(env, info, "dieWithParent expects the process id of the parent.", args)) return nullptr;
  const pid_t parent = static_cast<pid_t>(args[0]);
#if defined(__linux__)
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    napi_throw_error(env, "ERR_PROCESS", "prctl(PR_SET_PDEATHSIG) failed.");
    return nullptr;
  }
#endif
  // After the request, not before: a parent that died in between sends no signal any more.
  if (getppid() != parent) _exit(kOrphanExitCode);
#if !defined(__linux__)
  std::thread(waitForEndOf, parent).detach();
#endif
  return undefined(env);
}

// exitNow(code): ends the process without exit handlers and static destructors.
napi_value exitNow(napi_env env, napi_callback_info info) {
  int64_t args[1];
  if (!integers(env, info, "exitNow expects an exit code.", args)) return nullptr;
  _exit(static_cast<int>(args[0] & 0xff));
}

// The one deadline of the process. Never destroyed: its thread may outlive every static object.
struct ExitTimer {
  std::mutex mutex;
  std::condition_variable changed;
  std::chrono::steady_clock::time_point deadline;
  int code = 0;
  bool armed = false;
  bool started = false;

  void run() {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      if (!armed) {
        changed.wait(lock);
      } else if (std::chrono::steady_clock::now() >= deadline) {
        _exit(code);
      } else {
        const auto until = deadline;
        changed.wait_until(lock, until);
      }
    }
  }
};

ExitTimer& exitTimer() {
  static ExitTimer* timer = new ExitTimer();
  return *timer;
}

// startExitTimer(milliseconds, code): a thread of its own ends the process then, whatever the JavaScript thread is
// doing.
napi_value startExitTimer(napi_env env, napi_callback_info info) {
  int64_t args[2];
  if (!integers(env, info, "startExitTimer expects milliseconds and an exit code.", args)) return nullptr;
  ExitTimer& timer = exitTimer();
  std::lock_guard<std::mutex> lock(timer.mutex);
  timer.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(args[0] > 0 ? args[0] : 0);
  timer.code = static_cast<int>(args[1] & 0xff);
  timer.armed = true;
  if (!timer.started) {
    std::thread([&timer] { timer.run(); }).detach();
    timer.started = true;
  }
  timer.changed.notify_one();
  return undefined(env);
}

napi_value cancelExitTimer(napi_env env, napi_callback_info) {
  ExitTimer& timer = exitTimer();
  std::lock_guard<std::mutex> lock(timer.mutex);
  timer.armed = false;
  timer.changed.notify_one();
  return undefined(env);
}

// Set by the handler below; the process-wide counts are all that an async-signal handler may touch.
std::atomic<int> signalsSeen{0};
std::atomic<int64_t> graceMilliseconds{0};
int wakePipe[2] = {-1, -1};
struct sigaction previousActions[NSIG];

bool isDefault(const struct sigaction& action) {
  return !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL;
}

void handOn(const struct sigaction& action, int number, siginfo_t* info, void* context) {
  if (action.sa_flags & SA_SIGINFO) {
    action.sa_sigaction(number, info, context);
  } else if (action.sa_handler != SIG_IGN && action.sa_handler != SIG_DFL) {
    action.sa_handler(number);
  }
}

void onSignal(int number, siginfo_t* info, void* context) {
  const int before = signalsSeen.fetch_add(1);
  if (before > 0) _exit(128 + number);
  const struct sigaction& previous = previousActions[number];
  // Nobody in JavaScript listens: the signal does what it does by default, only with an exit code.
  if (isDefault(previous)) _exit(128 + number);
  const int saved = errno;
  const char byte = static_cast<char>(number);
  if (write(wakePipe[1], &byte, 1) != 1) _exit(128 + number);
  errno = saved;
  handOn(previous, number, info, context);
}

// Puts `handler` before the present one, which is kept in `previous[number]`; false, with an exception, when it cannot.
bool putBefore(napi_env env, int number, void (*handler)(int, siginfo_t*, void*), struct sigaction* previous) {
  struct sigaction current;
  sigaction(number, nullptr, &current);
  if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == handler) return true;
  previous[number] = current;
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  if (sigaction(number, &action, nullptr) == 0) return true;
  napi_throw_error(env, "ERR_PROCESS", "The handler of this signal cannot be changed.");
  return false;
}

// Waits for the byte of the first signal, then for the grace period, and ends the process.
void graceThread() {
  char number = 0;
  while (read(wakePipe[0], &number, 1) < 0 && errno == EINTR) {
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(graceMilliseconds.load()));
  _exit(128 + number);
}

// limitSignal(number, graceMilliseconds): the JavaScript handler of this signal, which must be installed already, gets
// that long; then, or at a second such signal, the process ends with 128 + number even while the JavaScript thread is
// in a native call.
napi_value limitSignal(napi_env env, napi_callback_info info) {
  int64_t args[2];
  if (!integers(env, info, "limitSignal expects a signal number and milliseconds.", args)) return nullptr;
  if (args[0] <= 0 || args[0] >= NSIG) return fail(env, "limitSignal expects the number of a signal.");
  graceMilliseconds.store(args[1] > 0 ? args[1] : 0);
  if (wakePipe[0] < 0) {
    if (pipe(wakePipe) != 0) {
      napi_throw_error(env, "ERR_PROCESS", "No pipe could be made for the signal handler.");
      return nullptr;
    }
    std::thread(graceThread).detach();
  }
  if (!putBefore(env, static_cast<int>(args[0]), onSignal, previousActions)) return nullptr;
  return undefined(env);
}

// How often each counted signal came.
std::atomic<int> signalCounts[NSIG];
struct sigaction countedActions[NSIG];

void onCountedSignal(int number, siginfo_t* info, void* context) {
  signalCounts[number].fetch_add(1);
  handOn(countedActions[number], number, info, context);
}

bool signalNumber(napi_env env, napi_callback_info info, const char* text, int& number) {
  int64_t args[1];
  if (!integers(env, info, text, args)) return false;
  if (args[0] > 0 && args[0] < NSIG) {
    number = static_cast<int>(args[0]);
    return true;
  }
  fail(env, text);
  return false;
}

// countSignal(number): from now on the signal is counted when it comes, not when the JavaScript thread is free. Its
// handler is called as before; it must be installed already, because the signal's default would be to end the process.
napi_value countSignal(napi_env env, napi_callback_info info) {
  int number = 0;
  if (!signalNumber(env, info, "countSignal expects the number of a signal.", number)) return nullptr;
  if (!putBefore(env, number, onCountedSignal, countedActions)) return nullptr;
  return undefined(env);
}

// signalCount(number): how often a counted signal has come.
napi_value signalCount(napi_env env, napi_callback_info info) {
  int number = 0;
  if (!signalNumber(env, info, "signalCount expects the number of a signal.", number)) return nullptr;
  napi_value result = nullptr;
  napi_create_int32(env, signalCounts[number].load(), &result);
  return result;
}

// Handlers of all signals as they were before a library was loaded.
struct sigaction savedHandlers[NSIG];

// saveSignalHandlers()
napi_value saveSignalHandlers(napi_env env, napi_callback_info) {
  for (int number = 1; number < NSIG; number++) sigaction(number, nullptr, &savedHandlers[number]);
  return undefined(env);
}

// restoreSignalHandlers(): takes back what the library installed. Debian's LibTorch 2.6 brings along UCX, which would
// otherwise swallow SIGHUP and stop in a debugger prompt where a crash should end the process.
napi_value restoreSignalHandlers(napi_env env, napi_callback_info) {
  for (int number = 1; number < NSIG; number++) {
    struct sigaction now;
    if (sigaction(number, nullptr, &now) != 0 || now.sa_handler == savedHandlers[number].sa_handler) continue;
    sigaction(number, &savedHandlers[number], nullptr);
  }
  return undefined(env);
}

// Where the end of a thread is written.
struct EndMark {
  std::atomic<int32_t>* place;
  napi_ref memory;  // keeps it alive as long as the thread
};

// markThreadEnd(array, index): when the calling thread ends, however it does, `array[index]` becomes 1. A thread that
// waits for it sees that without its event loop, which learns of a worker's end only when it turns.
napi_value markThreadEnd(napi_env env, napi_callback_info info) {
  napi_value args[2];
  size_t count = 2, length = 0;
  napi_typedarray_type type;
  void* data = nullptr;
  int64_t index = -1;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count < 2 ||
      napi_get_typedarray_info(env, args[0], &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_int32_array || napi_get_value_int64(env, args[1], &index) != napi_ok || index < 0 ||
      static_cast<size_t>(index) >= length) {
    return fail(env, "markThreadEnd expects an Int32Array and an index in it.");
  }
  static_assert(sizeof(std::atomic<int32_t>) == sizeof(int32_t), "an element of an Int32Array");
  auto* mark = new EndMark{reinterpret_cast<std::atomic<int32_t>*>(data) + index, nullptr};
  napi_create_reference(env, args[0], 1, &mark->memory);
  const auto onEnd = [](void* hint) {
    auto* ended = static_cast<EndMark*>(hint);
    ended->place->store(1);
    delete ended;
  };
  napi_add_env_cleanup_hook(env, onEnd, mark);
  return undefined(env);
}

napi_value initialize(napi_env env, napi_value exports) {
  const struct {
    const char* name;
    napi_callback callback;
  } table[] = {
      {"widenHeap", widenHeap},
      {"settleHeap", settleHeap},
      {"dieWithParent", dieWithParent},
      {"createPage", createPage},
      {"closePage", closePage},
      {"mapPage", mapPage},
      {"exitNow", exitNow},
      {"startExitTimer", startExitTimer},
      {"cancelExitTimer", cancelExitTimer},
      {"limitSignal", limitSignal},
      {"countSignal", countSignal},
      {"signalCount", signalCount},
      {"saveSignalHandlers", saveSignalHandlers},
      {"restoreSignalHandlers", restoreSignalHandlers},
      {"markThreadEnd", markThreadEnd},
  };
  for (const auto& entry : table) {
    napi_value function = nullptr;
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.callback, nullptr, &function) != napi_ok ||
        napi_set_named_property(env, exports, entry.name, function) != napi_ok) {
      return nullptr;
    }
  }
  return exports;
}

}  // namespace

NAPI_MODULE(fabric_process, initialize)
