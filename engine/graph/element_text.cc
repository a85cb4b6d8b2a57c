#include "engine/graph/element_text.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/graph/syntax.h"

namespace weft::graph {
namespace {

template <typename T>
T LoadElement(const char* data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

/// Bits of a NaN that `nan` does not stand for are written as such.
template <typename Bits>
void AppendBits(Bits bits, std::string* out) {
  absl::StrAppend(out, "0x", absl::Hex(bits));
}

}  // namespace

void AppendElement(const HostTensor& tensor, int64_t i, std::string* out) {
  const auto append_f32 = [out](uint32_t bits) {
    const auto value = std::bit_cast<float>(bits);
    std::isnan(value) && bits != 0x7FC00000 ? AppendBits(bits, out) : AppendFloat(value, out);
  };
  const auto append_f64 = [out](uint64_t bits) {
    const auto value = std::bit_cast<double>(bits);
    std::isnan(value) && bits != 0x7FF8000000000000 ? AppendBits(bits, out)
                                                    : AppendDouble(value, out);
  };
  const char* data = tensor.data;
  switch (tensor.dtype) {
    case DType::kBool:
      out->append(data[i] != 0 ? "true" : "false");
      break;
    case DType::kU8:
      absl::StrAppend(out, static_cast<int>(LoadElement<uint8_t>(data, i)));
      break;
    case DType::kI8:
      absl::StrAppend(out, static_cast<int>(LoadElement<int8_t>(data, i)));
      break;
    case DType::kI16:
      absl::StrAppend(out, LoadElement<int16_t>(data, i));
      break;
    case DType::kI32:
      absl::StrAppend(out, LoadElement<int32_t>(data, i));
      break;
    case DType::kI64:
      absl::StrAppend(out, LoadElement<int64_t>(data, i));
      break;
    case DType::kF16: {
      const auto bits = LoadElement<uint16_t>(data, i);
      const float value = HalfToFloat(bits);
      std::isnan(value) && bits != 0x7E00 ? AppendBits(bits, out) : AppendFloat(value, out);
      break;
    }
    case DType::kBF16: {
      const auto bits = LoadElement<uint16_t>(data, i);
      const float value = BFloat16ToFloat(bits);
      std::isnan(value) && bits != 0x7FC0 ? AppendBits(bits, out) : AppendFloat(value, out);
      break;
    }
    case DType::kF32:
      append_f32(LoadElement<uint32_t>(data, i));
      break;
    case DType::kF64:
      append_f64(LoadElement<uint64_t>(data, i));
      break;
    case DType::kC64:
      out->push_back('(');
      append_f32(LoadElement<uint32_t>(data, 2 * i));
      out->append(", ");
      append_f32(LoadElement<uint32_t>(data, 2 * i + 1));
      out->push_back(')');
      break;
    case DType::kC128:
      out->push_back('(');
      append_f64(LoadElement<uint64_t>(data, 2 * i));
      out->append(", ");
      append_f64(LoadElement<uint64_t>(data, 2 * i + 1));
      out->push_back(')');
      break;
  }
}

}  // namespace weft::graph
