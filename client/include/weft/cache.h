#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "weft/saved.h"
#include "weft/tensor.h"
#include "weft/value.h"

namespace weft {

struct CacheOptions {
  /// The values are called this in the program and in RunResult; empty: `cache0`, `cache1`...
  std::string name = {};
  /// Convert floating-point tensors to it before they are sent.
  std::optional<DType> dtype = {};
  /// What modules were called with as well.
  bool include_inputs = false;
};

/// What modules returned, which Tracer::cache brings back: empty while it is recorded, filled in
/// when the run ends.
///
///   weft::SavedCache acts = trace.cache({model["transformer.h"][0], "lm_head"});
///   ...
///   acts["transformer.h.0"].output();  acts["transformer"]["h"][0].output();
///
/// Indexing only builds a path. Copies share the values. Not thread-safe.
class SavedCache {
 public:
  SavedCache() = default;
  explicit SavedCache(std::shared_ptr<internal::SaveState> state) : state_(std::move(state)) {}

  SavedCache operator[](const std::string& name) const;
  SavedCache operator[](const char* name) const { return (*this)[std::string(name)]; }
  SavedCache operator[](std::integral auto index) const { return (*this)[std::to_string(index)]; }

  /// The module's output: of one visit the value, of several a list of them (a
  /// `Saved<std::vector<Tensor>>`). A status that names what was cached if this module was not.
  Saved<Tensor> output() const { return Get("output", std::nullopt); }
  /// Of visit `visit`, counted over all steps.
  Saved<Tensor> output(uint32_t visit) const { return Get("output", visit); }
  /// The first tensor that the module was called with. Only with CacheOptions::include_inputs.
  Saved<Tensor> input() const { return Get("input", std::nullopt); }
  Saved<Tensor> input(uint32_t visit) const { return Get("input", visit); }

  /// Modules at this path and below that were cached, in the order in which they first ran.
  std::vector<std::string> keys() const;
  /// Whether the module at `path` below this one was.
  bool contains(const std::string& path) const;
  /// Visits of this module.
  uint32_t visits() const;
  /// In a sweep: what it gave at one point.
  SavedCache point(uint32_t point) const;

  /// OK if the run brought the cache back.
  absl::Status status() const;
  /// OK, or why visits are missing from it: a step that never came, say.
  absl::Status incomplete() const;
  /// The cache's name in the program and in RunResult.
  std::string name() const { return state_ == nullptr ? std::string() : state_->name; }
  /// The path that indexing has led to; empty for the model itself.
  const std::string& path() const { return path_; }

 private:
  Saved<Value> Get(const std::string& point, std::optional<uint32_t> visit) const;
  absl::StatusOr<const Value::Dict*> Find() const;
  /// The same cache, at the model itself.
  SavedCache Root() const;

  std::shared_ptr<internal::SaveState> state_;
  std::string path_;
  std::optional<uint32_t> point_;
};

}  // namespace weft
