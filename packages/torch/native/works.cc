// Waiting for collectives, on other threads with a promise or in place, and the calls that start them from JavaScript.
#include "collectives.h"

namespace fabric {

void Operation::complete() {
  at::NoGradGuard noGrad;
  if (work) {
    if (!waited) work->wait();  // has ended; for device tensors this orders the current stream after it
    if (fromAny && !group->nccl()) source = work->sourceRank();
    work.reset();
  }
  for (auto& step : after) step();
  after.clear();
  buffers.clear();
}

void Operation::waitHere() {
  communicate(what, *group, [&] {
    const Waiting waiting;
    if (work) work->wait();
  });
  waited = true;
  complete();
}

namespace {

// Lets another thread wait for a work without a future.
void waitElsewhere(const std::shared_ptr<Operation>& operation, Done done) {
  runDetached([operation, work = operation->work, done = std::move(done)] {
    std::exception_ptr error;
    try {
      const Waiting waiting;
      work->wait();
      operation->waited = true;
    } catch (...) {
      error = std::make_exception_ptr(communicationError(std::current_exception(), operation->what, *operation->group));
    }
    --*operation->group->inFlight;
    done(error);
  });
}

// The first to settle a promise wins: the collective itself, or the finding that it can never end.
Done firstOf(Done done) {
  return [done = std::move(done), settled = std::make_shared<std::atomic<bool>>(false)](std::exception_ptr error) {
    if (!settled->exchange(true)) done(std::move(error));
  };
}

napi_value waitAsync(napi_env env, const std::shared_ptr<Operation>& operation) {
  Done done;
  napi_value promise = makePromise(
      env,
      [operation](napi_env env) {
        operation->complete();
        return jsUndefined(env);
      },
      &done);
  done = firstOf(std::move(done));
  if (operation->entry) operation->entry->onFailure(done);
  if (!operation->work) {
    done(nullptr);
  } else if (operation->group->nccl()) {
    // Ordered on the device's stream: there is nothing to wait for on the host.
    --*operation->group->inFlight;
    operation->entry.reset();
    done(nullptr);
  } else if (operation->hasFuture) {
    operation->work->getFuture()->addCallback([operation, done](c10::ivalue::Future& future) {
      done(future.hasError()
               ? std::make_exception_ptr(communicationError(future.exception_ptr(), operation->what, *operation->group))
               : nullptr);
    });
  } else {
    waitElsewhere(operation, std::move(done));
  }
  return promise;
}

// startCollective(group, name, outputs, inputs, op, peer, tag, label) => work
napi_value startCollectiveJs(napi_env env, napi_callback_info info) {
  return guarded(env, "startCollective", [&]() -> napi_value {
    Args<8> a(env, info);
    auto group = groupOf(env, a[0]);
    Call call{tensorsOf(env, a[2], "outputs"),
              tensorsOf(env, a[3], "inputs"),
              stringOf(env, a[4], "op"),
              static_cast<int>(intOf(env, a[5], "peer")),
              static_cast<int>(intOf(env, a[6], "tag")),
              stringOf(env, a[7], "label")};
    return makeExternal(env, new WorkObject(startCollective(group, stringOf(env, a[1], "name"), call)));
  });
}

napi_value workWait(napi_env env, napi_callback_info info) {
  return guarded(env, "workWait", [&]() -> napi_value {
    Args<1> a(env, info);
    return waitAsync(env, unwrap<WorkObject>(env, a[0], Kind::Work, "work")->operation);
  });
}

napi_value workWaitSync(napi_env env, napi_callback_info info) {
  return guarded(env, "workWaitSync", [&]() -> napi_value {
    Args<1> a(env, info);
    waitForOperation(unwrap<WorkObject>(env, a[0], Kind::Work, "work")->operation);
    return jsUndefined(env);
  });
}

// workSource(work): the rank that sent what `recv` got.
napi_value workSource(napi_env env, napi_callback_info info) {
  return guarded(env, "workSource", [&]() -> napi_value {
    Args<1> a(env, info);
    return jsInt(env, unwrap<WorkObject>(env, a[0], Kind::Work, "work")->operation->source);
  });
}

}  // namespace

void waitForOperation(const std::shared_ptr<Operation>& operation) {
  const bool counted = operation->work && !operation->hasFuture;
  std::shared_ptr<void> uncount(nullptr, [&](void*) {
    if (counted) --*operation->group->inFlight;
    operation->entry.reset();
  });
  operation->waitHere();
}

const std::vector<Export>& workExports() {
  static const std::vector<Export> table = {{"startCollective", startCollectiveJs},
                                            {"workWait", workWait},
                                            {"workWaitSync", workWaitSync},
                                            {"workSource", workSource}};
  return table;
}

}  // namespace fabric
