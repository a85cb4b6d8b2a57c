#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/weights/model_config.h"

namespace weft::weights {

/// A model's folder as the Hub lays it out: `config.json`, `tokenizer.json`, perhaps
/// `generation_config.json`, and the weights in `model.safetensors`, or in the files that
/// `model.safetensors.index.json` lists.
///
/// Opening reads the configuration and the index, and sees that the other files are there; the
/// files with weights are not opened. Immutable, so thread-safe.
class HubFolder {
 public:
  /// kNotFound, naming the file, if one is missing; kInvalidArgument if the configuration or the
  /// index cannot be understood. Without `weights` nobody asks for those.
  static absl::StatusOr<HubFolder> Open(const std::string& path, bool weights = true);

  const std::string& path() const { return path_; }
  const ModelConfig& config() const { return config_; }
  /// `generation_config.json`, where there is one.
  const std::optional<ModelConfig>& generation_config() const { return generation_config_; }
  const std::string& tokenizer_path() const { return tokenizer_path_; }

  /// The paths of the files with weights, sorted.
  const std::vector<std::string>& weight_paths() const { return weight_paths_; }

 private:
  std::string path_;
  ModelConfig config_;
  std::optional<ModelConfig> generation_config_;
  std::string tokenizer_path_;
  std::vector<std::string> weight_paths_;
};

}  // namespace weft::weights
