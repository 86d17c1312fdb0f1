// A random number generator behind an external.
#pragma once

#include <ATen/core/Generator.h>

#include "handle.h"

namespace fabric {

struct GeneratorHandle final : Object {
  explicit GeneratorHandle(at::Generator g) : Object(Kind::Generator), generator(std::move(g)) {}
  at::Generator generator;
};

}  // namespace fabric
