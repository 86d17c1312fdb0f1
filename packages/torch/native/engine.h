// What the autograd engine does here beside PyTorch's own: it remembers JavaScript stacks in anomaly mode, and gives
// the tensors that operators save to hooks.
#pragma once

#include "handle.h"

namespace fabric {

// Puts the engine in place, and tells it that `env` lives on this thread.
void installEngine(napi_env env);

// Forgets what an earlier backward pass failed at.
void forgetAnomaly();
// In a catch block, after a backward pass in anomaly mode failed: throws the exception in flight with the JavaScript
// stacks of the forward calls that led to it. Returns where there are none.
void explainAnomaly(napi_env env);

}  // namespace fabric
