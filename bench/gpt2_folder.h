#pragma once

#include <filesystem>
#include <utility>

#include "absl/status/statusor.h"

namespace weft::bench {

/// A Hub folder with the shapes of GPT-2 124M and random weights, large enough that every layer
/// does something. Removed at the end.
class Gpt2Folder {
 public:
  /// kUnavailable where there is no room for its 500 MB.
  static absl::StatusOr<Gpt2Folder> Make();
  Gpt2Folder(Gpt2Folder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Gpt2Folder& operator=(Gpt2Folder&&) = delete;
  ~Gpt2Folder();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit Gpt2Folder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

}  // namespace weft::bench
