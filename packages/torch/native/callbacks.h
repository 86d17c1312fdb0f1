// JavaScript functions that the engine calls: kept alive from C++, run on the JavaScript thread wherever the engine is,
// and their errors brought home as the same objects.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>

#include "handle.h"

namespace fabric {

struct JsThread;  // callbacks.cc

// Keeps a JavaScript value alive. It may die anywhere, also in a collection or on another thread: the reference is then
// given back at the next call of `deleteDeadReferences`.
class JsReference {
 public:
  JsReference(napi_env env, napi_value value);
  ~JsReference();
  JsReference(const JsReference&) = delete;
  JsReference& operator=(const JsReference&) = delete;

  // On the JavaScript thread, inside a handle scope.
  napi_value value() const;
  napi_env env() const { return env_; }

 private:
  napi_env env_;
  std::shared_ptr<JsThread> thread_;
  napi_ref reference_ = nullptr;
};

// A function that the engine may call during a backward pass. While one is alive, passes that engine threads take part
// in leave the JavaScript thread free to run it.
class JsFunction {
 public:
  JsFunction(napi_env env, napi_value function);
  ~JsFunction();

  napi_env env() const { return reference_.env(); }
  // On the JavaScript thread, inside a handle scope. Throws JsThrew.
  napi_value call(std::initializer_list<napi_value> args) const;

 private:
  JsReference reference_;
};

// A JavaScript error on its way through the engine.
class JsThrew final : public JsError {
 public:
  JsThrew(napi_env env, napi_value error);
  std::shared_ptr<JsReference> error;
};

// Gives back the references that died where JavaScript could not be entered. On the JavaScript thread.
void deleteDeadReferences(napi_env env);

// An environment begins, on its JavaScript thread, and ends: its references end with it, whatever still holds them.
void rememberEnvironment(napi_env env);
void forgetEnvironment(napi_env env);

// Runs `body` on the JavaScript thread in a handle scope and waits for it. Grad mode and the like are the caller's.
void onJsThread(napi_env env, const std::function<void()>& body);

// Runs a backward pass, or what else the engine may do on its own threads, and serves their calls meanwhile.
void runEngine(napi_env env, const std::function<void()>& run);

}  // namespace fabric
