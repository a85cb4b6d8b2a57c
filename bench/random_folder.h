#pragma once

#include <cstdint>
#include <filesystem>
#include <utility>

#include "absl/status/statusor.h"

namespace weft::bench {

/// A Hub folder with random weights, large enough that every layer does something. Removed at the
/// end.
class RandomFolder {
 public:
  enum class Shape : uint8_t {
    kGpt2,     // GPT-2 124M
    kLlama,    // a Llama of 160M
    kLlama1B,  // of 1.2 billion, as Llama 3.2 is: in bfloat16
    kTiny,     // a GPT-2 of two layers, 64 wide
  };
  /// kUnavailable where there is no room for it (500 MB to 2.5 GB).
  static absl::StatusOr<RandomFolder> Make(Shape shape);
  RandomFolder(RandomFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  RandomFolder& operator=(RandomFolder&&) = delete;
  ~RandomFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit RandomFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

}  // namespace weft::bench
