// Promises settled from other threads: one thread-safe function an environment, and a pool of threads without a limit.
#include "waiter.h"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#if defined(__GLIBC__)
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fabric {

namespace {

// ---- promises -----------------------------------------------------------------------------------------------

struct Pending {
  napi_deferred deferred;
  Finish finish;
  std::exception_ptr error;
};

class Waiter {
 public:
  explicit Waiter(napi_env env) : env_(env) {
    napi_value name = jsString(env, "fabric waiter");
    check(
        napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, settleOnJs, &call_));
    check(napi_unref_threadsafe_function(env, call_));
  }

  napi_value add(Finish finish, Done* done, const std::shared_ptr<Waiter>& self) {
    napi_value promise;
    auto pending = std::make_shared<Pending>();
    check(napi_create_promise(env_, &pending->deferred, &promise));
    pending->finish = std::move(finish);
    if (pending_++ == 0) napi_ref_threadsafe_function(env_, call_);
    *done = [self, pending](std::exception_ptr error) {
      pending->error = std::move(error);
      self->post(pending);
    };
    return promise;
  }

  // After this, completions are dropped: there is no JavaScript left to tell.
  void close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    napi_release_threadsafe_function(call_, napi_tsfn_abort);
  }

 private:
  void post(const std::shared_ptr<Pending>& pending) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) return;
    auto* data = new std::shared_ptr<Pending>(pending);
    if (napi_call_threadsafe_function(call_, data, napi_tsfn_nonblocking) != napi_ok) delete data;
  }

  static void settleOnJs(napi_env env, napi_value, void* context, void* data) {
    std::unique_ptr<std::shared_ptr<Pending>> owner(static_cast<std::shared_ptr<Pending>*>(data));
    if (!env) return;
    auto* waiter = static_cast<Waiter*>(context);
    if (--waiter->pending_ == 0) napi_unref_threadsafe_function(env, waiter->call_);
    Pending& pending = **owner;
    try {
      if (pending.error) std::rethrow_exception(pending.error);
      napi_value value = pending.finish ? pending.finish(env) : jsUndefined(env);
      napi_resolve_deferred(env, pending.deferred, value);
    } catch (...) {
      reject(env, pending.deferred, std::current_exception());
    }
    pending.finish = nullptr;
  }

  static void reject(napi_env env, napi_deferred deferred, const std::exception_ptr& error) {
    napi_value reason = nullptr;
    bool thrown = false;
    napi_is_exception_pending(env, &thrown);
    if (thrown) {
      napi_get_and_clear_last_exception(env, &reason);
    } else {
      const JsError described = describeException(error);
      reason = makeJsError(env, described.kind, described.what(), described.hint, described.code);
    }
    napi_reject_deferred(env, deferred, reason);
  }

  napi_env env_;
  napi_threadsafe_function call_ = nullptr;
  size_t pending_ = 0;  // JavaScript thread only
  std::mutex mutex_;
  bool closed_ = false;
};

// An environment lives on one thread.
thread_local std::shared_ptr<Waiter> waiter;

const std::shared_ptr<Waiter>& waiterOf(napi_env env) {
  if (!waiter) {
    waiter = std::make_shared<Waiter>(env);
    onEnvironmentExit(env, [] {
      waiter->close();
      waiter.reset();
    });
  }
  return waiter;
}

// ---- threads ------------------------------------------------------------------------------------------------

// Threads are reused for a while and never joined; the pool is never destroyed, so a blocked thread cannot hold up an
// exit.
class Threads {
 public:
  void run(std::function<void()> job) {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(std::move(job));
    if (jobs_.size() <= idle_) {
      wake_.notify_one();
    } else {
      std::thread([this] { loop(); }).detach();
    }
  }

 private:
  void loop() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      if (jobs_.empty()) {
        idle_++;
        const bool found = wake_.wait_for(lock, std::chrono::seconds(10), [this] { return !jobs_.empty(); });
        idle_--;
        if (!found) return;
      }
      std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  size_t idle_ = 0;
};

Threads& threads() {
  static auto* pool = new Threads;
  return *pool;
}

void runAndDelete(void* data) {
  std::unique_ptr<std::function<void()>> atExit(static_cast<std::function<void()>*>(data));
  (*atExit)();
}

}  // namespace

napi_value makePromise(napi_env env, Finish finish, Done* done) {
  const auto& own = waiterOf(env);
  return own->add(std::move(finish), done, own);
}

napi_value settle(napi_env env, bool sync, std::function<void()> body, Finish finish) {
  if (sync) {
    body();
    return finish ? finish(env) : jsUndefined(env);
  }
  Done done;
  napi_value promise = makePromise(env, std::move(finish), &done);
  runDetached([body = std::move(body), done = std::move(done)] {
    try {
      body();
    } catch (...) {
      done(std::current_exception());
      return;
    }
    done(nullptr);
  });
  return promise;
}

void runDetached(std::function<void()> body) { threads().run(std::move(body)); }

void onEnvironmentExit(napi_env env, std::function<void()> atExit) {
  check(napi_add_env_cleanup_hook(env, runAndDelete, new std::function<void()>(std::move(atExit))));
}

void exitQuickly() {
#if defined(__GLIBC__)
  // Only the main thread's environment ends the process; on_exit is the one hook that knows the exit code.
  static bool registered = false;
  if (registered || syscall(SYS_gettid) != getpid()) return;
  registered = true;
  on_exit(
      [](int status, void*) {
        std::fflush(nullptr);
        _exit(status);
      },
      nullptr);
#endif
}

}  // namespace fabric
