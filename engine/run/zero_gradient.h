#pragma once

#include <ATen/core/ivalue.h>

namespace weft::run {

/// The same values; a gradient that is zero everywhere goes no further back than here.
///
/// Rows of several invokes lie in one tensor, so zeros come to all of them, whichever the loss is
/// of. Where one invoke's rows are made of another's, they would come back to that one: no number
/// of its gradient, unless a derivative on the way is not finite.
c10::IValue StopZeroGradient(const c10::IValue& value);

}  // namespace weft::run
