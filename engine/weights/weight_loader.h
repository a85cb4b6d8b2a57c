#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/weights/copy_tensor.h"
#include "engine/weights/hub_folder.h"
#include "engine/weights/name_rules.h"
#include "engine/weights/safetensors.h"

namespace weft::weights {

/// The tensors of a checkpoint, by the names that the family's modules have.
///
/// Maps its files while it lives; close it by destroying it once the model is loaded. What was
/// taken is out of the mapping's memory, so that a model is not there twice while it is loaded. Not
/// thread-safe.
class Checkpoint {
 public:
  /// Open all files of `folder` and check their headers. kInvalidArgument if two tensors have one
  /// name by `rules`, or those that make up one do not fit together.
  static absl::StatusOr<Checkpoint> Open(const HubFolder& folder, const NameRules& rules);

  const std::string& path() const { return path_; }

  /// Call `progress` for every few megabytes that Take has read; its error becomes that of Take.
  void set_progress(std::function<absl::Status(uint64_t bytes, uint64_t total_bytes)> progress) {
    progress_ = std::move(progress);
  }

  /// Return the dtype of the first floating-point tensor, or nothing if there is none.
  std::optional<at::ScalarType> FloatType() const;

  /// Return whether there is a tensor `name`, for what a family may do without (a tied head).
  bool Has(const std::string& name) const;

  /// Return a tensor that owns a copy of its bytes, on `device`, without gradient, never an
  /// inference tensor.
  ///
  /// With `dtype`, floating-point weights are converted to it; others keep theirs. kNotFound if
  /// there is no tensor `name`, kInvalidArgument naming both shapes if it has another shape.
  absl::StatusOr<at::Tensor> Take(const std::string& name, at::IntArrayRef shape,
                                  std::optional<at::ScalarType> dtype = std::nullopt,
                                  at::Device device = at::kCPU);

  /// How many numbers each tensor has, by name.
  std::map<std::string, uint64_t> Elements() const;

  /// The names in the checkpoint that nobody took and no rule ignores, sorted.
  std::vector<std::string> Untaken() const;

  /// An error that lists Untaken(), if there are any: the model has weights that the family does
  /// not know, so it would compute something else.
  absl::Status CheckAllTaken() const;

 private:
  /// A tensor of a file, or the equal part of one that was split, and where it goes in the tensor
  /// that it is a part of.
  struct Part {
    size_t file = 0;
    const TensorEntry* entry = nullptr;
    std::vector<int64_t> shape;  // of the part
    int64_t cut_dim = -1;        // of the file's tensor; -1: the whole of it
    int64_t cut_begin = 0;
    int64_t stacked = -1;  // its place in a new first dimension; -1: there is none
    int64_t dim = 0;       // of the tensor, along which it begins at
    int64_t begin = 0;
  };
  struct Place {
    std::vector<int64_t> shape;
    std::vector<Part> parts;
    bool taken = false;
  };
  using Names = absl::flat_hash_map<std::string, Part>;

  absl::StatusOr<Names> NameTensors(const NameRules& rules) const;
  /// Both take what a rule matches out of `names`.
  absl::Status Fuse(const FusedTensor& rule, Names& names);
  absl::Status Split(const SplitTensor& rule, Names& names);
  /// Of each source its parts in order.
  absl::StatusOr<Place> Join(std::vector<std::vector<Part>> sources, bool stacked, int64_t dim,
                             const std::string& target) const;
  absl::Status Add(const std::string& name, Place place);
  absl::Status CopyPart(const Part& part, const at::Tensor& whole);
  std::string What(const Part& part) const;
  absl::Status BothAre(const Part& part, const Part& other, const std::string& name) const;

  std::string path_;
  std::vector<SafetensorsFile> files_;
  absl::flat_hash_map<std::string, Place> places_;
  std::function<absl::Status(uint64_t, uint64_t)> progress_;
  uint64_t read_bytes_ = 0, total_bytes_ = 0;
};

/// Return all tensors of a file by name, each owning a copy of its bytes. For files that hold
/// values rather than a model.
absl::StatusOr<std::map<std::string, at::Tensor>> LoadTensors(const std::string& path);

}  // namespace weft::weights
