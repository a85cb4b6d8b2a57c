#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/exported/archive.h"
#include "engine/models/network.h"

namespace weft::exported {

/// Whether a path is to be hosted as an exported program: a file whose name ends in `.pt2`.
bool IsArchive(const std::string& path);

struct Options {
  /// What one forward may hold at a time beside the weights; 0 for no bound.
  uint64_t memory_bytes = 0;
  /// Where it computes, and its weights lie.
  at::Device device = at::kCPU;
};

/// Host what torch.export.save wrote as a network: its modules are those of the Python model, its
/// operators those of the graph. No Python is run, and nothing is unpickled.
///
/// kInvalidArgument for a damaged archive, kUnimplemented for what is sound and not served, each
/// naming the file, and the entry, or the node with its line of Python.
absl::StatusOr<models::Network> LoadNetwork(const std::string& path, const Options& options);
absl::StatusOr<models::Network> MakeNetwork(const Archive& archive, const Options& options);

}  // namespace weft::exported
