// Errors of the transport between processes that come out of engine calls, such as a backward pass that averages
// gradients.
#pragma once

#include <string>

#include "handle.h"

namespace fabric {

// A DistributedError when the text is that of a failed connection or a timeout of the transport, otherwise a
// TorchError.
JsError engineOrTransportError(const std::string& text);

}  // namespace fabric
