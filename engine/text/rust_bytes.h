#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "engine/text/tokenizers_abi.h"

namespace weft::text {

/// Bytes that the Rust side allocated.
class RustBytes {
 public:
  RustBytes() = default;
  RustBytes(const RustBytes&) = delete;
  RustBytes& operator=(const RustBytes&) = delete;
  ~RustBytes() {
    if (bytes_.data != nullptr) weft_bytes_free(bytes_);
  }

  WeftBytes* out() { return &bytes_; }
  absl::string_view view() const {
    return absl::string_view(reinterpret_cast<const char*>(bytes_.data), bytes_.size);
  }

 private:
  WeftBytes bytes_ = {};
};

inline const uint8_t* RustData(const std::string& text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

}  // namespace weft::text
