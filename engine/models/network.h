#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/models/module.h"
#include "engine/weights/hub_folder.h"
#include "engine/weights/weight_loader.h"

namespace weft::models {

/// Where a family gets its weights: by name, with the shape that it needs, as float32. The one door
/// for weights, which a loader that shards them can serve.
class ParameterSource {
 public:
  explicit ParameterSource(weights::Checkpoint* checkpoint) : checkpoint_(*checkpoint) {}

  bool Has(const std::string& name) const { return checkpoint_.Has(name); }
  /// kNotFound, or kInvalidArgument with both shapes.
  absl::StatusOr<at::Tensor> Param(const std::string& name, at::IntArrayRef shape);
  /// A weight that the checkpoint holds as `[in, out]`, made `[out, in]`; shown as it was.
  absl::StatusOr<at::Tensor> TransposedParam(const std::string& name, int64_t in, int64_t out);
  /// Show a tensor under a second name (tied weights).
  void Show(const std::string& name, at::Tensor tensor) { shown_[name] = std::move(tensor); }

  std::map<std::string, at::Tensor> TakeShown() { return std::move(shown_); }

 private:
  weights::Checkpoint& checkpoint_;
  std::map<std::string, at::Tensor> shown_;
};

/// What a root takes that takes no token ids: `[B, shape...]`, or `[B, T, shape...]`.
struct RowInput {
  std::vector<int64_t> shape;
  bool tokens = false;
  at::ScalarType dtype = at::kFloat;
  plan::SizeRange batches, lengths;  // what B and T may be
};

struct RecordedSites;

/// A network as its family, or a person of its own, made it.
struct Network {
  std::unique_ptr<Module> root;
  /// What it takes; nothing where it takes token ids.
  std::optional<RowInput> input;
  /// As in the checkpoint: name, orientation.
  std::map<std::string, at::Tensor> parameters;
  std::string family;
  int64_t vocabulary = 0;  // 0 where it takes no token ids
  int64_t max_tokens = 0;
  int64_t cache_elements = 0;    // of the KV cache, for each token
  std::vector<int64_t> eos_ids;  // that end a generation
  std::string config_json;       // shown to clients
  /// Finds the sites of a root that does not pack rows, once, with taps set. Empty for others.
  std::function<absl::StatusOr<RecordedSites>()> record_sites;
};

/// Make the network that a folder's config.json describes. kUnimplemented, naming the families that
/// there are, for another `model_type`; otherwise the errors of the folder's files.
absl::StatusOr<Network> MakeNetwork(const weights::HubFolder& folder);

}  // namespace weft::models
