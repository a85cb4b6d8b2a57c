#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace weft {

/// Element types. Numbers are those of the wire.
enum class DType : uint8_t {
  kBool = 1,
  kUInt8 = 2,
  kInt8 = 3,
  kInt16 = 4,
  kInt32 = 5,
  kInt64 = 6,
  kFloat16 = 7,
  kBFloat16 = 8,
  kFloat32 = 9,
  kFloat64 = 10,
  kComplex64 = 11,
  kComplex128 = 12,
};
inline constexpr DType kBool = DType::kBool;
inline constexpr DType kUInt8 = DType::kUInt8;
inline constexpr DType kInt8 = DType::kInt8;
inline constexpr DType kInt16 = DType::kInt16;
inline constexpr DType kInt32 = DType::kInt32;
inline constexpr DType kInt64 = DType::kInt64;
inline constexpr DType kFloat16 = DType::kFloat16;
inline constexpr DType kBFloat16 = DType::kBFloat16;
inline constexpr DType kFloat32 = DType::kFloat32;
inline constexpr DType kFloat64 = DType::kFloat64;
inline constexpr DType kComplex64 = DType::kComplex64;
inline constexpr DType kComplex128 = DType::kComplex128;

/// Bytes of one element; 0 for a number that is no dtype.
int64_t SizeOf(DType dtype);
/// torch's name: `float32`, `int64`, `bool`.
std::string ToString(DType dtype);
std::ostream& operator<<(std::ostream& out, DType dtype);

namespace internal {

/// Print `message` and abort: for misuse that has no status to be reported in.
[[noreturn]] void Fail(const std::string& message);

template <typename T>
struct DTypeOf;
template <DType kDType>
struct DTypeIs {
  static constexpr DType value = kDType;
};
template <>
struct DTypeOf<bool> : DTypeIs<DType::kBool> {};
template <>
struct DTypeOf<uint8_t> : DTypeIs<DType::kUInt8> {};
template <>
struct DTypeOf<int8_t> : DTypeIs<DType::kInt8> {};
template <>
struct DTypeOf<int16_t> : DTypeIs<DType::kInt16> {};
template <>
struct DTypeOf<int32_t> : DTypeIs<DType::kInt32> {};
template <>
struct DTypeOf<int64_t> : DTypeIs<DType::kInt64> {};
template <>
struct DTypeOf<long long> : DTypeIs<DType::kInt64> {};  // NOLINT: int64_t is long on Linux
template <>
struct DTypeOf<float> : DTypeIs<DType::kFloat32> {};
template <>
struct DTypeOf<double> : DTypeIs<DType::kFloat64> {};
template <>
struct DTypeOf<std::complex<float>> : DTypeIs<DType::kComplex64> {};
template <>
struct DTypeOf<std::complex<double>> : DTypeIs<DType::kComplex128> {};

}  // namespace internal

/// Sizes of a tensor's dimensions. Prints as `[1, 9, 48]`.
class Shape : public std::vector<int64_t> {
 public:
  using std::vector<int64_t>::vector;
  Shape(std::vector<int64_t> sizes)  // NOLINT: a shape is its sizes
      : std::vector<int64_t>(std::move(sizes)) {}
};
std::ostream& operator<<(std::ostream& out, const Shape& shape);

/// A dense, row-major tensor on the host.
///
/// The bytes never change and belong to a shared owner, so a copy of a Tensor shares them and costs
/// as much as a copy of its shape. Thread-safe once made.
class Tensor {
 public:
  /// `float32[0]`.
  Tensor() = default;

  /// Wrap `bytes` bytes at `data`, which live as long as `owner`. kInvalidArgument if they are not
  /// `product(shape)` elements of `dtype`, or not aligned to one.
  static absl::StatusOr<Tensor> Wrap(DType dtype, Shape shape, std::shared_ptr<const void> owner,
                                     const void* data, size_t bytes);

  /// Make a tensor of `values` in row-major order. Ends the program if there are not
  /// `product(shape)` of them.
  template <typename T>
  static Tensor From(std::vector<T> values, Shape shape) {
    auto owner = std::make_shared<std::vector<T>>(std::move(values));
    const T* data = owner->data();
    const size_t bytes = owner->size() * sizeof(T);
    return WrapOrFail(internal::DTypeOf<T>::value, std::move(shape), std::move(owner), data, bytes);
  }
  /// The same for bools, which std::vector packs.
  static Tensor From(std::vector<bool> values, Shape shape);
  /// A one-dimensional tensor.
  template <typename T>
  static Tensor From(std::vector<T> values) {
    const auto size = static_cast<int64_t>(values.size());
    return From(std::move(values), {size});
  }
  /// A tensor without dimensions.
  template <typename T>
  static Tensor Scalar(T value) {
    return From(std::vector<T>{value}, {});
  }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim() const { return static_cast<int64_t>(shape_.size()); }
  /// The size of one dimension; negative ones count from the end.
  int64_t size(int64_t dimension) const;
  /// Number of elements.
  int64_t numel() const { return numel_; }
  size_t bytes() const { return static_cast<size_t>(numel_) * SizeOf(dtype_); }

  const void* data() const { return data_; }
  /// What keeps data() alive.
  const std::shared_ptr<const void>& owner() const { return owner_; }

  /// The elements in row-major order. Ends the program, naming both types, if T is not the
  /// tensor's: to<T>() converts.
  template <typename T>
  absl::Span<const T> span() const {
    CheckIs(internal::DTypeOf<T>::value);
    return absl::MakeConstSpan(static_cast<const T*>(data_), static_cast<size_t>(numel_));
  }
  /// One element; negative indices count from the end.
  template <typename T>
  T at(std::initializer_list<int64_t> index) const {
    return span<T>()[Offset(index)];
  }
  template <typename T>
  T at(int64_t index) const {
    return at<T>({index});
  }
  /// The only element of a tensor, converted.
  template <typename T = double>
  T item() const {
    const int64_t element = OnlyElement();
    if constexpr (requires { internal::DTypeOf<T>::value; }) {
      // Not by way of a double, which does not hold every integer, nor a complex number.
      if (dtype_ == internal::DTypeOf<T>::value) return span<T>()[element];
    }
    return static_cast<T>(NumberAt(element));
  }
  /// Element `offset` in row-major order as a number; the real part of a complex one.
  double NumberAt(int64_t offset) const;

  /// `tensor[i]`: the part at `index` of the first dimension, sharing the bytes.
  Tensor operator[](int64_t index) const;
  /// The same elements in another shape. Ends the program if their number differs. One -1 is
  /// worked out.
  Tensor reshape(Shape shape) const;
  /// A copy with converted elements, as torch converts: floats to ints towards zero.
  Tensor to(DType dtype) const;
  /// The elements converted to T.
  template <typename T>
  std::vector<T> ToVector() const {
    const Tensor converted = to(internal::DTypeOf<T>::value);
    const auto elements = converted.span<T>();
    return std::vector<T>(elements.begin(), elements.end());
  }

  /// As torch prints it: `tensor([[0.1000, 2.0000]])`; long dimensions are elided in the middle.
  std::string ToString() const;
  /// `float32[1, 9, 48]`.
  std::string Type() const;

  /// True if dtype, shape and bytes are the same.
  friend bool Identical(const Tensor& a, const Tensor& b);
  friend std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

 private:
  static Tensor WrapOrFail(DType dtype, Shape shape, std::shared_ptr<const void> owner,
                           const void* data, size_t bytes);
  void CheckIs(DType wanted) const;
  int64_t Offset(absl::Span<const int64_t> index) const;
  int64_t OnlyElement() const;

  DType dtype_ = DType::kFloat32;
  Shape shape_ = {0};
  int64_t numel_ = 0;
  std::shared_ptr<const void> owner_;
  const void* data_ = nullptr;
};

// A friend alone would be found by argument only, not as weft::Identical.
bool Identical(const Tensor& a, const Tensor& b);

namespace internal {

// torch.tensor's types: ints are int64 and floats float32, whatever C++ calls the literal.
template <typename T>
using LiteralType =
    std::conditional_t<std::is_same_v<T, bool>, bool,
                       std::conditional_t<std::is_floating_point_v<T>, float, int64_t>>;

[[noreturn]] void FailRagged(size_t row, size_t first);

}  // namespace internal

/// As torch.tensor: `tensor(1.0)`, `tensor({1, 2})`, `tensor({{1.0, 2.0}, {3.0, 4.0}})`. Integers
/// give int64, floats float32; `dtype` converts. Ends the program if rows differ in size.
template <typename T>
requires std::is_arithmetic_v<T> Tensor tensor(T value) {
  return Tensor::Scalar(static_cast<internal::LiteralType<T>>(value));
}
template <typename T>
Tensor tensor(std::initializer_list<T> values) {
  return Tensor::From(std::vector<internal::LiteralType<T>>(values.begin(), values.end()),
                      {static_cast<int64_t>(values.size())});
}
template <typename T>
Tensor tensor(std::initializer_list<std::initializer_list<T>> rows) {
  std::vector<internal::LiteralType<T>> values;
  const size_t width = rows.size() == 0 ? 0 : rows.begin()->size();
  for (const auto& row : rows) {
    if (row.size() != width) internal::FailRagged(row.size(), width);
    values.insert(values.end(), row.begin(), row.end());
  }
  return Tensor::From(std::move(values),
                      {static_cast<int64_t>(rows.size()), static_cast<int64_t>(width)});
}
template <typename T>
Tensor tensor(std::initializer_list<T> values, DType dtype) {
  return Tensor::From(std::vector<T>(values.begin(), values.end())).to(dtype);
}

}  // namespace weft
