#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "weft/blob.h"
#include "weft/tensor.h"

namespace weft {

/// What a save gives: a tensor, a scalar, a string, none, or a structure of values; what was kept
/// has blobs for tensors. Copies share the tensors' bytes. Thread-safe once made.
class Value {
 public:
  struct List {
    std::vector<Value> items;
  };
  struct Tuple {
    std::vector<Value> items;
  };
  struct Dict {
    std::vector<std::pair<std::string, Value>> entries;
  };
  using Variant = std::variant<std::monostate, Tensor, bool, int64_t, double, std::string, List,
                               Tuple, Dict, Blob>;

  /// None.
  Value() = default;
  Value(Variant value) : value_(std::move(value)) {}   // NOLINT: a Value is its variant
  Value(Tensor tensor) : value_(std::move(tensor)) {}  // NOLINT: a tensor is a value
  Value(Blob blob) : value_(std::move(blob)) {}        // NOLINT: so is a blob

  bool is_none() const { return std::holds_alternative<std::monostate>(value_); }
  /// The value as T (one of Variant's), or nullptr if it is something else.
  template <typename T>
  const T* FindAs() const {
    return std::get_if<T>(&value_);
  }
  /// Number of items of a structure; 0 for anything else.
  size_t size() const;
  /// An item of a structure by position, or of a dict by key. Ends the program if it is not there.
  const Value& operator[](size_t index) const;
  const Value& operator[](const std::string& key) const;
  /// The tensor. Ends the program if this is none.
  const Tensor& tensor() const;

  const Variant& variant() const { return value_; }

  /// `tensor`, `tuple`, `none`...
  std::string Kind() const;
  /// `float32[1, 9, 48]`, `(float32[2], none)`, `{logits: float32[1, 9, 512]}`.
  std::string Type() const;
  /// As Python prints it.
  std::string ToString() const;
  friend std::ostream& operator<<(std::ostream& out, const Value& value);

 private:
  Variant value_;
};

}  // namespace weft
