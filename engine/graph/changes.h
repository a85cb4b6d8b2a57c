#pragma once

#include <string>
#include <vector>

#include "engine/graph/program.h"

namespace weft::graph {

/// True for operators in place by their name, `aten::add_`, `aten::mul_.Tensor`, but not
/// `aten::__and__`.
bool IsInPlace(const std::string& op);

/// By node id: true for values that a statement may change in place, by their own name or by one
/// that may share their memory. Errs on the side of true.
std::vector<bool> MayBeChanged(const Program& program);

}  // namespace weft::graph
