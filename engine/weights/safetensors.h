#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace weft::weights {

/// The safetensors file format (https://github.com/huggingface/safetensors): eight bytes with the
/// header's length, a JSON header, then the tensors' bytes, little-endian and row-major.

/// Return the bytes of one element of `dtype` ("F32", "BF16", "I64", "BOOL"...), or nothing if the
/// format has no such dtype or packs several elements into a byte.
std::optional<int64_t> DtypeBytes(absl::string_view dtype);

/// Where one tensor lies in a file. `begin` and `end` count bytes from the end of the header.
struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct SafetensorsHeader {
  /// In the order of their bytes.
  std::vector<TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
};

/// Parse and check a header (its JSON alone) of a file with `data_bytes` bytes of tensors.
///
/// The tensors of the result have distinct names and known dtypes, and cover the data exactly.
/// kInvalidArgument for a header that breaks the format, kDataLoss where bytes are missing.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t data_bytes);

/// A safetensors file, mapped into memory for reading.
///
/// The file must not be truncated while it is open. Thread-safe once opened.
class SafetensorsFile {
 public:
  /// Open and check `path`. Besides the errors of ParseSafetensorsHeader: kNotFound,
  /// kPermissionDenied, kDataLoss if the file ends before its header does.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;
  ~SafetensorsFile();

  const std::string& path() const { return path_; }
  /// In the order of their bytes.
  const std::vector<TensorEntry>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  /// Return the tensor called `name`, or nullptr.
  const TensorEntry* FindTensor(absl::string_view name) const;

  /// Return the bytes of one of tensors(), not necessarily aligned. They live as long as the file.
  absl::string_view Bytes(const TensorEntry& tensor) const;

  /// Let the memory of `bytes`, a part of what Bytes returned, be used for something else. They can
  /// be read again, from the disk or its cache.
  void Release(absl::string_view bytes) const;

 private:
  SafetensorsFile() = default;
  void Unmap();

  std::string path_;
  SafetensorsHeader header_;
  const char* map_ = nullptr;
  size_t map_bytes_ = 0;
  size_t data_begin_ = 0;
};

/// A tensor to be written. `bytes` are dense, row-major and little-endian.
struct TensorToWrite {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  absl::string_view bytes;
};

/// Write `tensors` to `path`, replacing a regular file that is there.
///
/// The file appears whole or not at all: it is written beside `path` and renamed. Tensors are laid
/// out by falling size of their elements, so each is aligned. kInvalidArgument if a name is used
/// twice, is not UTF-8, or bytes do not fit dtype and shape.
absl::Status WriteSafetensors(const std::string& path, absl::Span<const TensorToWrite> tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace weft::weights
