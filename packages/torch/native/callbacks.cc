// Calls between the engine's threads and the JavaScript thread. While a backward pass runs on other threads, the
// JavaScript thread waits in `serve` and runs what they ask for. A thread that waits for JavaScript in turn runs the
// backward passes that are started there: a device thread must not wait for itself.
#include "callbacks.h"

#include <ATen/ThreadLocalState.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "engine.h"

namespace fabric {

namespace {

// ---- references ---------------------------------------------------------------------------------------------

std::atomic<int64_t> liveFunctions{0};

struct HandleScope {
  explicit HandleScope(napi_env env) : env(env) { check(napi_open_handle_scope(env, &scope)); }
  ~HandleScope() { napi_close_handle_scope(env, scope); }
  napi_env env;
  napi_handle_scope scope = nullptr;
};

// ---- threads ------------------------------------------------------------------------------------------------

// Something to run on another thread, and what became of it.
struct Task {
  explicit Task(std::function<void()> body) : body(std::move(body)) {}
  std::function<void()> body;
  at::ThreadLocalState state;
  std::exception_ptr error;
  bool done = false;

  void run() {
    const at::ThreadLocalStateGuard guard(state);
    try {
      body();
    } catch (...) {
      error = std::current_exception();
    }
  }
};

// A thread's inbox. Whoever waits for a task of its own runs what arrives here meanwhile.
class Inbox {
 public:
  void post(Task* task, Inbox* reply) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      tasks_.emplace_back(task, reply);
    }
    wake_.notify_one();
  }
  // Runs what arrives until `awaited` is done. `around` is told whose task begins (null: it ended).
  template <typename Around>
  void serve(const Task& awaited, Around around) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return awaited.done || !tasks_.empty(); });
      if (tasks_.empty()) return;
      auto [task, reply] = tasks_.front();
      tasks_.pop_front();
      lock.unlock();
      around(reply, [task = task] { task->run(); });
      reply->finished(task);
      lock.lock();
    }
  }
  // The last that the other thread does with either: both may be gone as soon as the lock is free.
  void finished(Task* task) {
    const std::lock_guard<std::mutex> lock(mutex_);
    task->done = true;
    wake_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::pair<Task*, Inbox*>> tasks_;
};

}  // namespace

// The JavaScript thread of an environment, as seen by the others. It outlives the environment where references do.
struct JsThread {
  const std::thread::id id = std::this_thread::get_id();
  Inbox inbox;
  std::atomic<int> listening{0};  // passes during which it serves its inbox
  Inbox* caller = nullptr;        // of the thread whose task it runs; the JavaScript thread's own

  std::mutex mutex;
  bool alive = true;           // false once the environment is gone, and its references with it
  std::vector<napi_ref> dead;  // what died where JavaScript could not be entered
};

namespace {

std::mutex threadsMutex;

std::unordered_map<napi_env, std::shared_ptr<JsThread>>& threads() {
  static auto* table = new std::unordered_map<napi_env, std::shared_ptr<JsThread>>;
  return *table;
}

// On any thread, where the environment itself must not be asked.
std::shared_ptr<JsThread> jsThreadOf(napi_env env) {
  const std::lock_guard<std::mutex> lock(threadsMutex);
  const auto found = threads().find(env);
  if (found != threads().end()) return found->second;
  throw JsError("UsageError", "The engine reached a JavaScript function whose thread has ended.");
}

#ifdef FABRIC_WITH_CUDA
std::atomic<bool> passesElsewhere{true};
#else
std::atomic<bool> passesElsewhere{false};
#endif

void serveJs(JsThread& js, const Task& awaited) {
  js.inbox.serve(awaited, [&](Inbox* caller, const auto& run) {
    Inbox* before = std::exchange(js.caller, caller);
    run();
    js.caller = before;
  });
}

// Runs a pass on another thread than JavaScript's: the one that waits for JavaScript now, or one of its own.
void runElsewhere(JsThread& js, const std::function<void()>& run) {
  Task pass(run);
  struct Listening {
    explicit Listening(std::atomic<int>& count) : count(count) { count++; }
    ~Listening() { count--; }
    std::atomic<int>& count;
  } listening(js.listening);
  if (js.caller) {
    js.caller->post(&pass, &js.inbox);
    serveJs(js, pass);
  } else {
    std::thread thread([&] {
      pass.run();
      js.inbox.finished(&pass);
    });
    serveJs(js, pass);
    thread.join();
  }
  if (pass.error) std::rethrow_exception(pass.error);
}

}  // namespace

JsReference::JsReference(napi_env env, napi_value value) : env_(env), thread_(jsThreadOf(env)) {
  check(napi_create_reference(env, value, 1, &reference_));
}

JsReference::~JsReference() {
  const std::lock_guard<std::mutex> lock(thread_->mutex);
  if (thread_->alive) thread_->dead.push_back(reference_);
}

napi_value JsReference::value() const {
  napi_value result;
  check(napi_get_reference_value(env_, reference_, &result));
  return result;
}

void deleteDeadReferences(napi_env env) {
  const auto thread = jsThreadOf(env);
  const std::lock_guard<std::mutex> lock(thread->mutex);
  for (const napi_ref reference : thread->dead) napi_delete_reference(env, reference);
  thread->dead.clear();
}

void rememberEnvironment(napi_env env) {
  const std::lock_guard<std::mutex> lock(threadsMutex);
  threads()[env] = std::make_shared<JsThread>();
}

void forgetEnvironment(napi_env env) {
  const auto thread = jsThreadOf(env);
  {
    const std::lock_guard<std::mutex> lock(thread->mutex);
    thread->alive = false;
    thread->dead.clear();
  }
  const std::lock_guard<std::mutex> lock(threadsMutex);
  threads().erase(env);
}

JsFunction::JsFunction(napi_env env, napi_value function) : reference_(env, function) { liveFunctions++; }
JsFunction::~JsFunction() { liveFunctions--; }

napi_value JsFunction::call(std::initializer_list<napi_value> args) const {
  napi_value receiver, result;
  check(napi_get_undefined(env(), &receiver));
  if (napi_call_function(env(), receiver, reference_.value(), args.size(), args.begin(), &result) == napi_ok) {
    return result;
  }
  napi_value error;
  check(napi_get_and_clear_last_exception(env(), &error));
  throw JsThrew(env(), error);
}

JsThrew::JsThrew(napi_env env, napi_value error)
    : JsError("TorchError", "A JavaScript function that the engine called threw."),
      error(std::make_shared<JsReference>(env, error)) {}

void onJsThread(napi_env env, const std::function<void()>& body) {
  const auto thread = jsThreadOf(env);
  JsThread& js = *thread;
  if (std::this_thread::get_id() == js.id) {
    const HandleScope scope(env);
    return body();
  }
  if (js.listening == 0) {
    throw JsError("NotSupportedError",
                  "The engine reached a JavaScript function on a thread that JavaScript does not wait for.",
                  "Backward passes that start backward passes can be nested about 60 deep.");
  }
  Inbox own;
  Task task([&] {
    const HandleScope scope(env);
    body();
  });
  js.inbox.post(&task, &own);
  own.serve(task, [](Inbox*, const auto& run) { run(); });
  if (task.error) std::rethrow_exception(task.error);
}

void runEngine(napi_env env, const std::function<void()>& run) {
  deleteDeadReferences(env);
  forgetAnomaly();
  try {
    if (passesElsewhere && liveFunctions > 0) return runElsewhere(*jsThreadOf(env), run);
    run();
  } catch (...) {
    explainAnomaly(env);
    throw;
  }
}

// ---- exports ------------------------------------------------------------------------------------------------

// setPassesElsewhere(on): for tests, which have no GPU. Backward passes then run on another thread, as CUDA's do.
static napi_value setPassesElsewhere(napi_env env, napi_callback_info info) {
  return guarded(env, "setPassesElsewhere", [&]() -> napi_value {
    Args<1> a(env, info);
    passesElsewhere = boolOf(env, a[0], "on");
    return jsUndefined(env);
  });
}

static napi_value liveCallbacks(napi_env env, napi_callback_info) {
  return guarded(env, "liveCallbacks", [&]() -> napi_value {
    deleteDeadReferences(env);
    return jsInt(env, liveFunctions);
  });
}

const std::vector<Export>& callbackExports() {
  static const std::vector<Export> table = {{"setPassesElsewhere", setPassesElsewhere},
                                            {"liveCallbacks", liveCallbacks}};
  return table;
}

}  // namespace fabric
