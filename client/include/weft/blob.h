#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "weft/tensor.h"

namespace weft {

/// A tensor whose bytes the server keeps for this key, named by their SHA-256.
///
/// It stands in a trace wherever a Tensor may, and its bytes do not travel again. It comes from
/// Client::Upload, or from a run that keeps a value (Var::keep). Who keeps dtype, shape and hash
/// can name it later, from another program too. A plain value: copies name the same bytes.
class Blob {
 public:
  /// Names nothing.
  Blob() = default;
  /// `hash`: 64 hexadecimal digits.
  Blob(std::string hash, DType dtype, Shape shape)
      : hash_(std::move(hash)), dtype_(dtype), shape_(std::move(shape)) {}

  /// The SHA-256 of the bytes, as 64 hexadecimal digits.
  const std::string& hash() const { return hash_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }

  /// `float32[1, 9, 48]`.
  std::string Type() const;
  /// As a program's text has it: `blob(float32, [1, 9, 48], "9f86d0...")`.
  std::string ToString() const;
  friend std::ostream& operator<<(std::ostream& out, const Blob& blob);
  friend bool operator==(const Blob& a, const Blob& b) {
    return a.hash_ == b.hash_ && a.dtype_ == b.dtype_ && a.shape_ == b.shape_;
  }

 private:
  std::string hash_;
  DType dtype_ = DType::kFloat32;
  Shape shape_ = {0};
};

/// The blobs of a key.
struct BlobList {
  struct Entry {
    std::string hash;  // 64 hexadecimal digits
    uint64_t bytes = 0;
    /// When it is removed, unless it is used or uploaded before.
    absl::Time expires = absl::InfiniteFuture();
  };
  std::vector<Entry> blobs;  // the next to expire first
  uint64_t quota_bytes = 0;  // of all of them; 0: no bound
};

}  // namespace weft
