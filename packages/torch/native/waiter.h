// Promises that other threads settle. Blocking calls run on threads of their own, as many as there are calls, because
// each may wait for another; completions may also come from LibTorch's threads. JavaScript runs on its own thread only.
#pragma once

#include <exception>
#include <functional>

#include "handle.h"

namespace fabric {

// Makes the value of a promise, on the JavaScript thread, once what it waits for has succeeded.
using Finish = std::function<napi_value(napi_env)>;
// Ends the wait of one promise, from any thread, exactly once. Null means success.
using Done = std::function<void(std::exception_ptr)>;

// A pending promise; `done` receives what settles it. The event loop stays alive until then.
napi_value makePromise(napi_env env, Finish finish, Done* done);

// Runs `body` on another thread and settles a promise with what `finish` makes; in place when `sync`.
napi_value settle(napi_env env, bool sync, std::function<void()> body, Finish finish);

// Runs `body` on another thread; nobody waits for it.
void runDetached(std::function<void()> body);

// Runs `atExit` on the JavaScript thread when the environment ends, before native objects are finalized.
void onEnvironmentExit(napi_env env, std::function<void()> atExit);

// From now on the process ends without static destructors: LibTorch's run in an order that threads do not survive.
void exitQuickly();

}  // namespace fabric
