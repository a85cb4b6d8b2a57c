#include "engine/weights/copy_tensor.h"

#include <c10/core/InferenceMode.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::weights {
namespace {

constexpr struct {
  const char* dtype;
  at::ScalarType type;
} kTypes[] = {
    {"F32", at::kFloat},
    {"BF16", at::kBFloat16},
    {"F16", at::kHalf},
    {"F64", at::kDouble},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
    {"U16", at::kUInt16},
    {"U32", at::kUInt32},
    {"U64", at::kUInt64},
    {"C64", at::kComplexFloat},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
    {"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz},
    {"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz},
    {"F8_E8M0", at::kFloat8_e8m0fnu},
};

/// Bytes that are read before their memory is released and progress is told.
constexpr int64_t kChunkBytes = int64_t{16} << 20;

using Progress = std::function<absl::Status(uint64_t bytes)>;

/// Copy the bytes of `[rows, ...]`, or the cut of them that has the shape of `to`. May throw.
absl::Status CopyRows(const SafetensorsFile& file, const TensorEntry& entry, at::ScalarType type,
                      const Cut& cut, const at::Tensor& to, const Progress& progress) {
  const absl::string_view bytes = file.Bytes(entry);
  if (bytes.empty()) return absl::OkStatus();
  std::vector<int64_t> shape = entry.shape;
  const auto row_bytes = static_cast<int64_t>(bytes.size()) / shape[0];
  const int64_t rows = to.size(0);
  const int64_t step = std::max<int64_t>(1, kChunkBytes / row_bytes);
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = std::min(step, rows - row);
    const int64_t from = (cut.dim == 0 ? cut.begin : 0) + row;
    const absl::string_view chunk = bytes.substr(from * row_bytes, count * row_bytes);
    const at::Tensor target = to.narrow(0, row, count);
    if (cut.dim <= 0 && type == target.scalar_type() && target.is_contiguous() && target.is_cpu()) {
      std::memcpy(target.mutable_data_ptr(), chunk.data(), chunk.size());
    } else {
      shape[0] = count;
      at::Tensor source;
      if (reinterpret_cast<uintptr_t>(chunk.data()) % c10::elementSize(type) == 0) {
        source = at::from_blob(const_cast<char*>(chunk.data()), shape, type);  // only read
      } else {
        source = at::empty(shape, type);
        std::memcpy(source.mutable_data_ptr(), chunk.data(), chunk.size());
      }
      if (cut.dim > 0) source = source.narrow(cut.dim, cut.begin, to.size(cut.dim));
      target.copy_(source);
    }
    file.Release(chunk);
    absl::Status told = progress(static_cast<uint64_t>(target.numel()) * c10::elementSize(type));
    if (!told.ok()) return told;
  }
  return absl::OkStatus();
}

/// Weights are read from front to back for every token, and with small pages the processor waits
/// for where they lie: decoding is a sixth slower. Memory of their own, as what was in use before
/// has small pages already. Undefined where it would not pay, or there is no memory.
at::Tensor EmptyInHugePages(at::IntArrayRef shape, at::ScalarType type) {
  constexpr uint64_t kHugePage = uint64_t{2} << 20;
  uint64_t bytes = c10::elementSize(type);
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) return {};
  }
  if (bytes < kHugePage || bytes > std::numeric_limits<uint64_t>::max() - kHugePage) return {};
  const uint64_t mapped = bytes + kHugePage;
  void* const map =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return {};
  const uint64_t before = (kHugePage - reinterpret_cast<uintptr_t>(map) % kHugePage) % kHugePage;
  char* const data = static_cast<char*>(map) + before;
  // Of the last page, which it does not fill, a few small ones.
  madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return at::from_blob(
      data, shape, [map, mapped](void*) { munmap(map, mapped); }, type);
}

}  // namespace

std::optional<at::ScalarType> ScalarTypeFromDtype(const std::string& dtype) {
  for (const auto& known : kTypes) {
    if (dtype == known.dtype) return known.type;
  }
  return std::nullopt;
}

std::optional<std::string> DtypeFromScalarType(at::ScalarType type) {
  for (const auto& known : kTypes) {
    if (type == known.type) return known.dtype;
  }
  return std::nullopt;
}

std::string DescribeEntry(const SafetensorsFile& file, const TensorEntry& entry) {
  return absl::StrCat(file.path(), ": tensor \"", absl::CHexEscape(entry.name), "\"");
}

std::string ShapeText(at::IntArrayRef shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<at::ScalarType> TypeOfEntry(const SafetensorsFile& file, const TensorEntry& entry) {
  std::optional<at::ScalarType> type = ScalarTypeFromDtype(entry.dtype);
  if (type) return *type;
  return absl::UnimplementedError(
      absl::StrCat(DescribeEntry(file, entry), " has the dtype ", entry.dtype,
                   ", which cannot be loaded; convert the checkpoint to F32, BF16 or F16"));
}

absl::StatusOr<at::Tensor> MakeEmpty(at::IntArrayRef shape, at::ScalarType type,
                                     at::Device device) {
  // The caller may be inside InferenceMode, and runs with gradients could not use the result.
  const c10::InferenceMode not_inference(false);
  try {
    if (device.is_cpu()) {
      at::Tensor tensor = EmptyInHugePages(shape, type);
      if (tensor.defined()) return tensor;
    }
    return at::empty(shape, at::TensorOptions(device).dtype(type));
  } catch (const c10::Error& error) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a tensor of the shape ", ShapeText(shape),
                     " could not be made: ", error.what_without_backtrace()));
  }
}

absl::Status CopyTensor(const SafetensorsFile& file, const TensorEntry& entry, const Cut& cut,
                        const at::Tensor& to, const Progress& progress) {
  absl::StatusOr<at::ScalarType> type = TypeOfEntry(file, entry);
  if (!type.ok()) return type.status();
  const absl::string_view bytes = file.Bytes(entry);
  if (*type == at::kBool &&
      std::any_of(bytes.begin(), bytes.end(), [](char byte) { return byte != 0 && byte != 1; })) {
    return absl::InvalidArgumentError(
        absl::StrCat(DescribeEntry(file, entry), " is of BOOL, but has bytes other than 0 and 1"));
  }
  try {
    if (entry.shape.empty()) {
      TensorEntry one = entry;
      one.shape = {1};
      return CopyRows(file, one, *type, cut, to.unsqueeze(0), progress);
    }
    return CopyRows(file, entry, *type, cut, to, progress);
  } catch (const c10::Error& error) {
    return absl::ResourceExhaustedError(absl::StrCat(
        DescribeEntry(file, entry), " could not be loaded: ", error.what_without_backtrace()));
  }
}

}  // namespace weft::weights
