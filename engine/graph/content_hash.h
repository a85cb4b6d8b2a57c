#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace weft::graph {

/// The SHA-256 of bytes that come in pieces: what names a blob. Not thread-safe.
class ContentHash {
 public:
  static constexpr size_t kBytes = 32;

  ContentHash();
  ~ContentHash();
  ContentHash(const ContentHash&) = delete;
  ContentHash& operator=(const ContentHash&) = delete;

  void Update(const void* data, size_t size);
  /// kBytes bytes; to be called once. kInternal if there was no memory for it.
  absl::StatusOr<std::string> Finish();

  /// Of bytes that are all there.
  static absl::StatusOr<std::string> Of(const void* data, size_t size);
  /// 64 hexadecimal digits, as text has it.
  static std::string ToText(const std::string& hash);
  /// The reverse; kInvalidArgument.
  static absl::StatusOr<std::string> FromText(const std::string& text);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace weft::graph
