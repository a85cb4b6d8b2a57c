#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/exported/graph.h"
#include "engine/models/network.h"

namespace weft::exported {

/// Elements of an input when it is tried.
inline constexpr int64_t kMostElements = int64_t{1} << 32;

/// What a program is called with, as far as it may vary.
struct Dynamics {
  bool batch = false, tokens = false;  // the first and the second dimension of its input
  Range batches, lengths;              // what they may be; least == most where they are fixed
};

/// The symbols of the inputs' dimensions. The first input says what a batch is: its first
/// dimension, and its second may be tokens; sizes of the others are those, or numbers.
/// kUnimplemented, with the way out, for other dynamic dimensions.
absl::StatusOr<Dynamics> FindDynamics(const Graph& graph);

/// What the program is called with.
models::RowInput InputOf(const Graph& graph, const Dynamics& dynamics);

/// A size of an input as a form of batch and tokens; nothing if it is neither.
std::optional<graph::Dimension> SizeForm(const Graph& graph, const Dynamics& dynamics,
                                         const Size& size);

}  // namespace weft::exported
