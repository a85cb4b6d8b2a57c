#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/weights/hub_folder.h"
#include "engine/weights/safetensors.h"

namespace weft::weights {

/// Return LibTorch's type for a dtype of safetensors ("F32"), or nothing where it has none.
std::optional<at::ScalarType> ScalarTypeFromDtype(const std::string& dtype);

/// Return the dtype of safetensors for `type`, or nothing where the format has none.
std::optional<std::string> DtypeFromScalarType(at::ScalarType type);

/// How a family maps the names in a checkpoint to those of its modules.
struct NameRules {
  /// Put before the names of a checkpoint in which no name starts with it, as with files saved
  /// from a base model: "transformer.".
  std::string base_prefix;
  /// Names that start with one of these lie outside the base model and never get the prefix:
  /// "lm_head.".
  std::vector<std::string> outside_base;
  /// Tensors whose names end with one of these are no weights, and are passed over:
  /// ".attn.masked_bias".
  std::vector<std::string> ignored_suffixes;
};

/// The tensors of a checkpoint, by the names that the family's modules have.
///
/// Maps its files while it lives; close it by destroying it once the model is loaded. Not
/// thread-safe.
class Checkpoint {
 public:
  /// Open all files of `folder` and check their headers. kInvalidArgument if a tensor is in two
  /// files.
  static absl::StatusOr<Checkpoint> Open(const HubFolder& folder, const NameRules& rules);

  /// Return whether there is a tensor `name`, for what a family may do without (a tied head).
  bool Has(const std::string& name) const;

  /// Return a tensor that owns a copy of its bytes, on the CPU, without gradient, never an
  /// inference tensor.
  ///
  /// With `dtype`, floating-point weights are converted to it; others keep theirs. kNotFound if
  /// there is no tensor `name`, kInvalidArgument naming both shapes if it has another shape.
  absl::StatusOr<at::Tensor> Take(const std::string& name, at::IntArrayRef shape,
                                  std::optional<at::ScalarType> dtype = std::nullopt);

  /// The names in the checkpoint that nobody took and no rule ignores, sorted.
  std::vector<std::string> Untaken() const;

  /// An error that lists Untaken(), if there are any: the model has weights that the family does
  /// not know, so it would compute something else.
  absl::Status CheckAllTaken() const;

 private:
  struct Place {
    size_t file = 0;
    const TensorEntry* entry = nullptr;
    bool taken = false;
  };

  std::string path_;
  std::vector<SafetensorsFile> files_;
  absl::flat_hash_map<std::string, Place> places_;
};

/// Return all tensors of a file by name, each owning a copy of its bytes. For files that hold
/// values rather than a model.
absl::StatusOr<std::map<std::string, at::Tensor>> LoadTensors(const std::string& path);

}  // namespace weft::weights
