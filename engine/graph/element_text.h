#pragma once

#include <cstdint>
#include <string>

#include "engine/graph/value.h"

namespace weft::graph {

/// Append element `i` of a tensor as the text form has it, so that it is read back to the bit.
/// `tensor` must satisfy CheckTensor.
void AppendElement(const HostTensor& tensor, int64_t i, std::string* out);

}  // namespace weft::graph
