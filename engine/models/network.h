#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/devices/device_map.h"
#include "engine/graph/value.h"
#include "engine/models/module.h"
#include "engine/weights/hub_folder.h"
#include "engine/weights/name_rules.h"
#include "engine/weights/weight_loader.h"

namespace weft::models {

/// Where a family gets its weights: by name, with the shape that it needs, in the dtype in which
/// the model is hosted, on the device of their module. The one door for weights, which a loader
/// that shards them can serve.
///
/// A weight that is missing or has another shape is remembered and told of when the family has
/// asked for everything, with all others: what Param returns then has the shape and no data.
class ParameterSource {
 public:
  /// Without a `checkpoint` weights are made up: they have shapes, and take next to no memory.
  explicit ParameterSource(weights::Checkpoint* checkpoint, at::ScalarType dtype = at::kFloat,
                           devices::DeviceMap devices = {})
      : checkpoint_(checkpoint), dtype_(dtype), devices_(std::move(devices)) {}

  /// What floating-point weights are, and with them activations.
  at::ScalarType dtype() const { return dtype_; }
  /// Whether the checkpoint holds it: what is tied to it does not count. Without one, everything
  /// is there that a family may have.
  bool Has(const std::string& name) const {
    return checkpoint_ == nullptr || checkpoint_->Has(name);
  }
  /// Said before either is asked for: the two are one weight, as transformers ties them. Where the
  /// checkpoint holds one of them, both are that; where it holds both, they are one only if they
  /// are equal.
  void Tie(const std::string& name, const std::string& other);

  /// An error only for what no checkpoint could help, such as a file that cannot be read.
  absl::StatusOr<at::Tensor> Param(const std::string& name, at::IntArrayRef shape);
  /// The same in a dtype of its own, whatever the model is hosted in.
  absl::StatusOr<at::Tensor> Param(const std::string& name, at::IntArrayRef shape,
                                   at::ScalarType dtype);
  /// A weight that the checkpoint holds as `[in, out]`, made `[out, in]`; shown as it was.
  absl::StatusOr<at::Tensor> TransposedParam(const std::string& name, int64_t in, int64_t out);
  /// What was given, by name, as it is shown.
  std::map<std::string, at::Tensor> TakeShown() { return std::move(shown_); }
  /// Whether everything that was asked for could be given.
  bool AllGiven() const { return missing_.empty() && misshapen_.empty(); }
  /// Everything that was asked for and could not be given, and everything that nobody asked for:
  /// kNotFound if weights are missing and nothing else is wrong, else kInvalidArgument.
  absl::Status CheckComplete() const;

 private:
  absl::StatusOr<at::Tensor> Take(const std::string& name, at::IntArrayRef shape,
                                  at::ScalarType dtype);
  absl::StatusOr<at::Tensor> TakeTied(const std::string& name, const std::string& other,
                                      at::IntArrayRef shape, at::ScalarType dtype);

  weights::Checkpoint* const checkpoint_;
  const at::ScalarType dtype_;
  const devices::DeviceMap devices_;
  std::map<std::string, at::Tensor> shown_;
  std::map<std::string, std::string> tied_;   // both ways round
  std::map<std::string, at::Tensor> loaded_;  // of those, by the checkpoint's name
  std::vector<std::string> missing_, misshapen_;
};

/// A tensor that a root takes beside its first: its sizes as forms of batch and tokens.
struct OtherInput {
  std::string name;
  graph::PatternTensor pattern;
};

/// What a root takes that takes no token ids: `[B, shape...]`, or `[B, T, shape...]`.
struct RowInput {
  std::string name;  // of the argument; empty where it has none
  std::vector<int64_t> shape;
  bool tokens = false;
  at::ScalarType dtype = at::kFloat;
  plan::SizeRange batches, lengths;  // what B and T may be
  std::vector<OtherInput> others;    // in the order of the arguments
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
  /// Of floating-point weights and activations.
  at::ScalarType dtype = at::kFloat;
  int64_t vocabulary = 0;  // 0 where it takes no token ids
  int64_t max_tokens = 0;
  int64_t cache_elements = 0;    // of the KV cache, for each token
  std::vector<int64_t> eos_ids;  // that end a generation
  /// Why it cannot generate, where it takes token ids and gives no next ones.
  std::string no_generation;
  std::string config_json;  // shown to clients
  /// Where its modules lie, with their weights.
  devices::DeviceMap devices;
  /// Weights are not loaded: it can be looked at, and programs be planned.
  bool dispatched = true;
  /// How names in files become those of its modules.
  weights::NameRules names;
  /// Finds the sites of a root that does not pack rows, once, with taps set. Empty for others.
  std::function<absl::StatusOr<RecordedSites>()> record_sites;
};

struct NetworkOptions {
  /// Nothing: what the checkpoint says (weights::DtypeOfCheckpoint).
  std::optional<at::ScalarType> dtype = std::nullopt;
  /// As LoadOptions has them.
  std::string device = "cpu";
  std::map<std::string, std::string> device_map = {};
  bool dispatch = true;
  /// Called for every few megabytes of weights that were read.
  std::function<absl::Status(uint64_t bytes, uint64_t total_bytes)> progress = {};
};

/// Make the network that a folder's config.json describes. kUnimplemented, naming the families that
/// there are, for another `model_type`; otherwise the errors of the folder's files.
absl::StatusOr<Network> MakeNetwork(const weights::HubFolder& folder,
                                    const NetworkOptions& options = {});

}  // namespace weft::models
