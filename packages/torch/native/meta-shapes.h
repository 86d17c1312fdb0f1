// Shapes without memory: while what `registerMetaShapes` gives is held, operators work on the meta device that the
// engine has no rule for.
#pragma once

#include <ATen/core/ivalue.h>

#include <memory>
#include <vector>

namespace fabric {

std::shared_ptr<void> registerMetaShapes();

// The shape of a convolution's output: its operands' shapes and the lists and flags of `aten::convolution`, of which
// the first is `options[0]`: stride, padding, dilation, transposed, output padding, groups.
std::vector<int64_t> convolutionShape(c10::IntArrayRef input, c10::IntArrayRef weight,
                                      c10::ArrayRef<const c10::IValue> options);

}  // namespace fabric
