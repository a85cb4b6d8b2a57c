#include "engine/graph/value.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::graph {
namespace {

struct DTypeRow {
  DType dtype;
  int64_t size;
  const char* name;
};
constexpr DTypeRow kDTypes[] = {
    {DType::kBool, 1, "bool"},   {DType::kU8, 1, "uint8"},      {DType::kI8, 1, "int8"},
    {DType::kI16, 2, "int16"},   {DType::kI32, 4, "int32"},     {DType::kI64, 8, "int64"},
    {DType::kF16, 2, "float16"}, {DType::kBF16, 2, "bfloat16"}, {DType::kF32, 4, "float32"},
    {DType::kF64, 8, "float64"}, {DType::kC64, 8, "complex64"}, {DType::kC128, 16, "complex128"},
};

/// More dimensions than any tensor library has.
constexpr size_t kMaxRank = 64;

const DTypeRow* FindRow(DType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) return &row;
  }
  return nullptr;
}

/// The number of elements, the largest number if there are more.
int64_t Product(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  bool overflow = false;
  for (int64_t size : shape) {
    if (size == 0) return 0;
    overflow |= __builtin_mul_overflow(product, size, &product);
  }
  return overflow ? std::numeric_limits<int64_t>::max() : product;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::string DimensionText(const Dimension& dimension) {
  std::string text;
  const auto add = [&text](int64_t factor, const char* unit) {
    if (factor == 0) return;
    if (!text.empty()) text += " + ";
    if (factor != 1 || *unit == '\0') absl::StrAppend(&text, factor);
    if (factor != 1 && *unit != '\0') text += "*";
    text += unit;
  };
  add(dimension.batch, "B");
  add(dimension.tokens, "T");
  add(dimension.past, "P");
  add(dimension.constant, "");
  if (text.empty()) text = "0";
  return dimension.at_most ? absl::StrCat("at most ", text) : text;
}

}  // namespace

int64_t SizeOf(DType dtype) {
  const DTypeRow* row = FindRow(dtype);
  return row == nullptr ? 0 : row->size;
}

std::string ToString(DType dtype) {
  const DTypeRow* row = FindRow(dtype);
  return row == nullptr ? absl::StrCat("dtype", static_cast<int>(dtype)) : row->name;
}

absl::StatusOr<DType> ParseDType(const std::string& name) {
  for (const DTypeRow& row : kDTypes) {
    if (name == row.name) return row.dtype;
  }
  std::string names;
  for (const DTypeRow& row : kDTypes) absl::StrAppend(&names, names.empty() ? "" : ", ", row.name);
  return absl::InvalidArgumentError(absl::StrCat("`", name, "` is not a dtype; there are ", names));
}

int64_t HostTensor::numel() const { return Product(shape); }

absl::Status CheckShape(DType dtype, const std::vector<int64_t>& shape) {
  const DTypeRow* row = FindRow(dtype);
  if (row == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tensor has the unknown dtype ", static_cast<int>(dtype)));
  }
  if (shape.size() > kMaxRank) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a tensor has ", shape.size(), " dimensions; at most ", kMaxRank, " are allowed"));
  }
  for (int64_t size : shape) {
    if (size < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("a tensor's shape ", ShapeText(shape), " has a negative size"));
    }
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(Product(shape), row->size, &bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tensor's shape ", ShapeText(shape), " is too large to count"));
  }
  return absl::OkStatus();
}

absl::Status CheckTensor(const HostTensor& tensor) {
  if (absl::Status status = CheckShape(tensor.dtype, tensor.shape); !status.ok()) return status;
  const DTypeRow* row = FindRow(tensor.dtype);
  const int64_t bytes = tensor.numel() * row->size;
  if (static_cast<uint64_t>(bytes) != tensor.bytes) {
    return absl::InvalidArgumentError(absl::StrCat("a ", row->name, " tensor of shape ",
                                                   ShapeText(tensor.shape), " takes ", bytes,
                                                   " bytes, but ", tensor.bytes, " were given"));
  }
  if (tensor.dtype == DType::kBool) {
    for (size_t i = 0; i < tensor.bytes; ++i) {
      if (static_cast<unsigned char>(tensor.data[i]) > 1) {
        return absl::InvalidArgumentError(
            absl::StrCat("element ", i, " of a bool tensor is neither 0 nor 1"));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<HostTensor> HostTensor::Make(DType dtype, std::vector<int64_t> shape,
                                            std::string bytes) {
  auto owner = std::make_shared<const std::string>(std::move(bytes));
  HostTensor tensor;
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  tensor.data = owner->data();
  tensor.bytes = owner->size();
  tensor.owner = std::move(owner);
  if (absl::Status status = CheckTensor(tensor); !status.ok()) return status;
  return tensor;
}

std::string ToString(const Pattern& pattern) {
  struct Printer {
    std::string operator()(std::monostate) const { return "none"; }
    std::string operator()(const std::string& scalar) const { return scalar; }
    std::string operator()(const Pattern::Tensor& tensor) const {
      std::vector<std::string> sizes;
      for (const Dimension& dimension : tensor.shape) sizes.push_back(DimensionText(dimension));
      return absl::StrCat(ToString(tensor.dtype), "[", absl::StrJoin(sizes, ", "), "]");
    }
    std::string operator()(const Pattern::List& list) const {
      return absl::StrCat("[", Items(list.items), "]");
    }
    std::string operator()(const Pattern::Tuple& tuple) const {
      return absl::StrCat("(", Items(tuple.items), tuple.items.size() == 1 ? ",)" : ")");
    }
    std::string operator()(const Pattern::Dict& dict) const {
      std::string text;
      for (const auto& [key, value] : dict.entries) {
        absl::StrAppend(&text, text.empty() ? "" : ", ", key, ": ", ToString(value));
      }
      return absl::StrCat("{", text, "}");
    }
    static std::string Items(const std::vector<Pattern>& items) {
      return absl::StrJoin(
          items, ", ", [](std::string* out, const Pattern& item) { out->append(ToString(item)); });
    }
  };
  return std::visit(Printer(), pattern.value);
}

}  // namespace weft::graph
