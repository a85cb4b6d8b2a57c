#pragma once

#include "absl/status/statusor.h"
#include "engine/exported/graph.h"

namespace weft::exported {

/// Find a node's operator, and put what is known of its arguments in its schema's places.
/// kInvalidArgument or kUnimplemented, without the node's name.
absl::StatusOr<BoundNode> Bind(const Program& program, int node);

/// One argument made of the graph's values, of the type that the schema asks for.
c10::IValue FillOf(const c10::Argument* schema, const Argument& from,
                   const std::vector<c10::IValue>& values);

}  // namespace weft::exported
