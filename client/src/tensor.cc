#include "weft/tensor.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <ostream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft {
namespace internal {

void Fail(const std::string& message) {
  std::fprintf(stderr, "weft: %s\n", message.c_str());
  std::abort();
}

void FailRagged(size_t row, size_t first) {
  Fail(absl::StrCat("tensor() with a row of ", row, " elements where the first has ", first,
                    ": give all rows the same size"));
}

}  // namespace internal

namespace {

static_assert(std::endian::native == std::endian::little, "tensors travel little-endian");

using internal::Fail;

/// The product of `shape`; -1 if a size is negative or the product does not fit.
int64_t NumelOf(const Shape& shape) {
  int64_t numel = 1;
  bool empty = false;
  for (int64_t size : shape) {
    if (size < 0) return -1;
    if (size == 0) empty = true;
    if (!empty && __builtin_mul_overflow(numel, size, &numel)) return -1;
  }
  return empty ? 0 : numel;
}

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 0x1f ? 0xffu : exponent + 112;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

/// Round to nearest, ties to even.
uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00u;
  if (magnitude >= 65520.0f) return sign | 0x7c00u;
  if (magnitude < 6.103515625e-05f) {  // below the smallest normal half: units of 2^-24
    return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(magnitude, 24)));
  }
  const uint32_t absolute = bits & 0x7fffffffu;
  const uint32_t rounded = absolute + 0xfffu + ((absolute >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - (112u << 23)) >> 13);
}

float BFloat16ToFloat(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <typename T>
T Load(const void* data, int64_t offset) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + offset * sizeof(T), sizeof(T));
  return value;
}

bool IsComplex(DType dtype) { return dtype == kComplex64 || dtype == kComplex128; }
bool IsFloat(DType dtype) {
  return dtype == kFloat16 || dtype == kBFloat16 || dtype == kFloat32 || dtype == kFloat64;
}

int64_t IntegerAt(DType dtype, const void* data, int64_t i) {
  switch (dtype) {
    case DType::kBool:
      return Load<uint8_t>(data, i) != 0;
    case DType::kUInt8:
      return Load<uint8_t>(data, i);
    case DType::kInt8:
      return Load<int8_t>(data, i);
    case DType::kInt16:
      return Load<int16_t>(data, i);
    case DType::kInt32:
      return Load<int32_t>(data, i);
    default:
      return Load<int64_t>(data, i);
  }
}

std::complex<double> ComplexAt(DType dtype, const void* data, int64_t i) {
  switch (dtype) {
    case DType::kFloat16:
      return HalfToFloat(Load<uint16_t>(data, i));
    case DType::kBFloat16:
      return BFloat16ToFloat(Load<uint16_t>(data, i));
    case DType::kFloat32:
      return Load<float>(data, i);
    case DType::kFloat64:
      return Load<double>(data, i);
    case DType::kComplex64:
      return std::complex<double>(Load<std::complex<float>>(data, i));
    case DType::kComplex128:
      return Load<std::complex<double>>(data, i);
    default:
      return static_cast<double>(IntegerAt(dtype, data, i));
  }
}

/// Towards zero; what does not fit gives the nearest integer that does, NaN gives 0.
int64_t TruncateToInteger(double value) {
  if (std::isnan(value)) return 0;
  if (value >= 9.2233720368547758e18) return std::numeric_limits<int64_t>::max();
  if (value <= -9.2233720368547758e18) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(value);
}

template <typename T>
void Store(char* data, int64_t offset, T value) {
  std::memcpy(data + offset * sizeof(T), &value, sizeof(T));
}

void StoreInteger(DType dtype, char* data, int64_t i, int64_t value) {
  switch (dtype) {
    case DType::kUInt8:
      return Store(data, i, static_cast<uint8_t>(value));
    case DType::kInt8:
      return Store(data, i, static_cast<int8_t>(value));
    case DType::kInt16:
      return Store(data, i, static_cast<int16_t>(value));
    case DType::kInt32:
      return Store(data, i, static_cast<int32_t>(value));
    default:
      return Store(data, i, value);
  }
}

void StoreComplex(DType dtype, char* data, int64_t i, std::complex<double> value) {
  switch (dtype) {
    case DType::kBool:
      return Store(data, i, static_cast<uint8_t>(value != 0.0));
    case DType::kFloat16:
      return Store(data, i, FloatToHalf(static_cast<float>(value.real())));
    case DType::kBFloat16:
      return Store(data, i, FloatToBFloat16(static_cast<float>(value.real())));
    case DType::kFloat32:
      return Store(data, i, static_cast<float>(value.real()));
    case DType::kFloat64:
      return Store(data, i, value.real());
    case DType::kComplex64:
      return Store(data, i, std::complex<float>(value));
    case DType::kComplex128:
      return Store(data, i, value);
    default:
      return StoreInteger(dtype, data, i, TruncateToInteger(value.real()));
  }
}

struct DTypeName {
  const char* name;
  int64_t bytes;
};

DTypeName NameOf(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return {"bool", 1};
    case DType::kUInt8:
      return {"uint8", 1};
    case DType::kInt8:
      return {"int8", 1};
    case DType::kInt16:
      return {"int16", 2};
    case DType::kInt32:
      return {"int32", 4};
    case DType::kInt64:
      return {"int64", 8};
    case DType::kFloat16:
      return {"float16", 2};
    case DType::kBFloat16:
      return {"bfloat16", 2};
    case DType::kFloat32:
      return {"float32", 4};
    case DType::kFloat64:
      return {"float64", 8};
    case DType::kComplex64:
      return {"complex64", 8};
    case DType::kComplex128:
      return {"complex128", 16};
  }
  return {"unknown", 0};
}

}  // namespace

int64_t SizeOf(DType dtype) { return NameOf(dtype).bytes; }
std::string ToString(DType dtype) { return NameOf(dtype).name; }
std::ostream& operator<<(std::ostream& out, DType dtype) { return out << NameOf(dtype).name; }

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  return out << "[" << absl::StrJoin(shape, ", ") << "]";
}

absl::StatusOr<Tensor> Tensor::Wrap(DType dtype, Shape shape, std::shared_ptr<const void> owner,
                                    const void* data, size_t bytes) {
  const int64_t size = SizeOf(dtype);
  if (size == 0) {
    return absl::InvalidArgumentError(absl::StrCat("no dtype has the number ", dtype));
  }
  constexpr size_t kMostDimensions = 64;  // as torch
  if (shape.size() > kMostDimensions) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tensor has at most ", kMostDimensions, " dimensions, not ", shape.size()));
  }
  const int64_t numel = NumelOf(shape);
  int64_t expected = 0;
  if (numel < 0 || __builtin_mul_overflow(numel, size, &expected) ||
      static_cast<uint64_t>(expected) != bytes) {
    return absl::InvalidArgumentError(absl::StrCat("a tensor ", NameOf(dtype).name, "[",
                                                   absl::StrJoin(shape, ", "), "] does not have ",
                                                   bytes, " bytes"));
  }
  const int64_t alignment = IsComplex(dtype) ? size / 2 : size;
  if (numel != 0 && reinterpret_cast<uintptr_t>(data) % alignment != 0) {
    return absl::InvalidArgumentError("a tensor's bytes must be aligned to its elements");
  }
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.numel_ = numel;
  tensor.owner_ = std::move(owner);
  tensor.data_ = data;
  return tensor;
}

Tensor Tensor::WrapOrFail(DType dtype, Shape shape, std::shared_ptr<const void> owner,
                          const void* data, size_t bytes) {
  absl::StatusOr<Tensor> tensor = Wrap(dtype, std::move(shape), std::move(owner), data, bytes);
  if (!tensor.ok()) Fail(std::string(tensor.status().message()));
  return *std::move(tensor);
}

Tensor Tensor::From(std::vector<bool> values, Shape shape) {
  auto bytes = std::make_shared<std::vector<uint8_t>>(values.begin(), values.end());
  const void* data = bytes->data();
  const size_t size = bytes->size();
  return WrapOrFail(kBool, std::move(shape), std::move(bytes), data, size);
}

int64_t Tensor::size(int64_t dimension) const {
  const int64_t index = dimension < 0 ? dimension + dim() : dimension;
  if (index < 0 || index >= dim()) {
    Fail(absl::StrCat("dimension ", dimension, " of a tensor with ", dim(), " dimensions"));
  }
  return shape_[index];
}

void Tensor::CheckIs(DType wanted) const {
  if (dtype_ == wanted) return;
  Fail(absl::StrCat("a tensor ", Type(), " read as ", NameOf(wanted).name,
                    "; to(...) or ToVector<...>() convert"));
}

int64_t Tensor::Offset(absl::Span<const int64_t> index) const {
  if (static_cast<int64_t>(index.size()) != dim()) {
    Fail(absl::StrCat(index.size(), " indices for a tensor ", Type()));
  }
  int64_t offset = 0;
  for (size_t i = 0; i < index.size(); ++i) {
    const int64_t at = index[i] < 0 ? index[i] + shape_[i] : index[i];
    if (at < 0 || at >= shape_[i]) {
      Fail(absl::StrCat("index ", index[i], " is outside of dimension ", i, " of ", Type()));
    }
    offset = offset * shape_[i] + at;
  }
  return offset;
}

int64_t Tensor::OnlyElement() const {
  if (numel_ != 1) Fail(absl::StrCat("item() of a tensor ", Type(), ", which is not one element"));
  return 0;
}

double Tensor::NumberAt(int64_t offset) const {
  if (offset < 0 || offset >= numel_) {
    Fail(absl::StrCat("element ", offset, " of a tensor ", Type()));
  }
  return ComplexAt(dtype_, data_, offset).real();
}

Tensor Tensor::operator[](int64_t index) const {
  const int64_t rows = size(0);
  const int64_t at = index < 0 ? index + rows : index;
  if (at < 0 || at >= rows) Fail(absl::StrCat("index ", index, " of a tensor ", Type()));
  Tensor part;
  part.dtype_ = dtype_;
  part.shape_ = Shape(shape_.begin() + 1, shape_.end());
  part.numel_ = numel_ / rows;
  part.owner_ = owner_;
  part.data_ = static_cast<const char*>(data_) + at * part.bytes();
  return part;
}

Tensor Tensor::reshape(Shape shape) const {
  int64_t known = 1;
  int64_t* unknown = nullptr;
  for (int64_t& size : shape) {
    if (size == -1 && unknown == nullptr) {
      unknown = &size;
    } else if (size < 0 || __builtin_mul_overflow(known, size, &known)) {
      known = 0;
      break;
    }
  }
  if (unknown != nullptr && known > 0) *unknown = numel_ / known;
  if (NumelOf(shape) != numel_) {
    Fail(absl::StrCat("a tensor ", Type(), " does not fit the shape [", absl::StrJoin(shape, ", "),
                      "]"));
  }
  Tensor reshaped = *this;
  reshaped.shape_ = std::move(shape);
  return reshaped;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  const size_t bytes = static_cast<size_t>(numel_) * SizeOf(dtype);
  // Of int64s, so that every dtype is aligned.
  auto owner = std::make_shared<std::vector<int64_t>>((bytes + 7) / 8);
  char* data = reinterpret_cast<char*>(owner->data());
  const bool integers = !IsFloat(dtype_) && !IsComplex(dtype_) && !IsFloat(dtype) &&
                        !IsComplex(dtype) && dtype != kBool;
  for (int64_t i = 0; i < numel_; ++i) {
    if (integers) {  // 64 bits do not fit a double
      StoreInteger(dtype, data, i, IntegerAt(dtype_, data_, i));
    } else {
      StoreComplex(dtype, data, i, ComplexAt(dtype_, data_, i));
    }
  }
  return WrapOrFail(dtype, shape_, std::move(owner), data, bytes);
}

std::string Tensor::Type() const {
  return absl::StrCat(NameOf(dtype_).name, "[", absl::StrJoin(shape_, ", "), "]");
}

bool Identical(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         (a.numel() == 0 || std::memcmp(a.data(), b.data(), a.bytes()) == 0);
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  return out << tensor.ToString();
}

}  // namespace weft
