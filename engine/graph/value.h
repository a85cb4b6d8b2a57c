#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace weft::graph {

/// The dtypes that travel. Numbers are the contract's (proto/weft/v1/program.proto).
enum class DType : uint8_t {
  kBool = 1,
  kU8 = 2,
  kI8 = 3,
  kI16 = 4,
  kI32 = 5,
  kI64 = 6,
  kF16 = 7,
  kBF16 = 8,
  kF32 = 9,
  kF64 = 10,
  kC64 = 11,
  kC128 = 12,
};

/// Bytes of one element.
int64_t SizeOf(DType dtype);
/// The text form's name, which is torch's: `float32`, `int64`, `bool`.
std::string ToString(DType dtype);
/// The reverse; kInvalidArgument with the names that exist.
absl::StatusOr<DType> ParseDType(const std::string& name);

/// A dense row-major tensor on the host. The bytes belong to `owner` and are never written to, so
/// copies of a HostTensor share them. Thread-safe once made.
struct HostTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::shared_ptr<const void> owner;
  const char* data = nullptr;
  size_t bytes = 0;

  /// The product of `shape`.
  int64_t numel() const;
  /// Take ownership of `bytes`, which are `numel * SizeOf(dtype)`; kInvalidArgument if they are
  /// not.
  static absl::StatusOr<HostTensor> Make(DType dtype, std::vector<int64_t> shape,
                                         std::string bytes);
};
/// kInvalidArgument if the dtype is unknown, or the shape is negative, has too many dimensions or
/// is too large to count.
absl::Status CheckShape(DType dtype, const std::vector<int64_t>& shape);
/// kInvalidArgument if the shape is negative or too large to count, the bytes do not fit it, or a
/// bool is neither 0 nor 1. Holds for every tensor that HostTensor::Make gave.
absl::Status CheckTensor(const HostTensor& tensor);

/// One entry of a dict of `T`. Not a std::pair, which asks what its parts can do while a type that
/// holds itself cannot answer yet.
template <typename T>
struct DictEntry {
  DictEntry(std::string key, T value) : key(std::move(key)), value(std::move(value)) {}
  std::string key;
  T value;
};

/// A value on the host: what a save gives.
struct HostValue {
  using Items = std::vector<HostValue>;
  using Entries = std::vector<DictEntry<HostValue>>;
  struct List {
    Items items;
  };
  struct Tuple {
    Items items;
  };
  struct Dict {
    Entries entries;
  };
  std::variant<std::monostate, HostTensor, bool, int64_t, double, std::string, List, Tuple, Dict>
      value;
};

/// One dimension of a site's or save's shape: `constant + batch * B + tokens * T + past * P`, with
/// P tokens before these in the KV cache.
struct Dimension {
  int64_t constant = 0;
  int64_t batch = 0;
  int64_t tokens = 0;
  int64_t past = 0;
  /// How large it is depends on data; this is the most that it can be.
  bool at_most = false;
  int64_t At(int64_t batch_size, int64_t token_count, int64_t past_count = 0) const {
    return constant + batch * batch_size + tokens * token_count + past * past_count;
  }
  friend bool operator==(const Dimension&, const Dimension&) = default;
};

struct PatternTensor {
  DType dtype = DType::kF32;
  std::vector<Dimension> shape;
  /// Of an integer site: values lie in [0, range); 0 where there is no such range.
  int64_t range = 0;
};

/// The structure, dtypes and shapes of a value, without its elements.
struct Pattern {
  using Tensor = PatternTensor;
  struct List {
    std::vector<Pattern> items;
  };
  struct Tuple {
    std::vector<Pattern> items;
  };
  struct Dict {
    std::vector<DictEntry<Pattern>> entries;
  };
  /// monostate is `none`; a string names a scalar's type (`int`, `float`, `bool`, `str`).
  std::variant<std::monostate, Tensor, std::string, List, Tuple, Dict> value;
};

/// `float32[B, T, 32]`, `(float32[B, T, 32], none)`, `{logits: float32[B, T, 97]}`.
std::string ToString(const Pattern& pattern);

}  // namespace weft::graph
