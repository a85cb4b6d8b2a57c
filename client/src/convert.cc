#include "client/src/convert.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/graph/content_hash.h"

namespace weft::internal {
namespace {

static_assert(static_cast<int>(kBool) == static_cast<int>(graph::DType::kBool));
static_assert(static_cast<int>(kFloat32) == static_cast<int>(graph::DType::kF32));
static_assert(static_cast<int>(kComplex128) == static_cast<int>(graph::DType::kC128));

}  // namespace

graph::HostTensor ToGraph(const Tensor& tensor) {
  graph::HostTensor converted;
  converted.dtype = ToGraph(tensor.dtype());
  converted.shape = tensor.shape();
  converted.owner = tensor.owner();
  converted.data = static_cast<const char*>(tensor.data());
  converted.bytes = tensor.bytes();
  return converted;
}

absl::StatusOr<graph::Constant> ToGraph(const Blob& blob) {
  graph::Constant constant;
  absl::StatusOr<std::string> hash = graph::ContentHash::FromText(blob.hash());
  if (!hash.ok()) return hash.status();
  constant.blob = *std::move(hash);
  constant.tensor.dtype = ToGraph(blob.dtype());
  constant.tensor.shape = blob.shape();
  return constant;
}

absl::StatusOr<Tensor> FromGraph(const graph::HostTensor& tensor) {
  const auto dtype = static_cast<DType>(tensor.dtype);
  if (reinterpret_cast<uintptr_t>(tensor.data) % 16 == 0 || tensor.bytes == 0) {
    return Tensor::Wrap(dtype, tensor.shape, tensor.owner, tensor.data, tensor.bytes);
  }
  // Bytes inside a message may lie anywhere.
  std::shared_ptr<char[]> copy(new char[tensor.bytes]);
  std::memcpy(copy.get(), tensor.data, tensor.bytes);
  const char* data = copy.get();
  return Tensor::Wrap(dtype, tensor.shape, std::move(copy), data, tensor.bytes);
}

absl::StatusOr<Value> FromGraph(
    const graph::HostValue& value,
    absl::FunctionRef<absl::StatusOr<Value>(const graph::HostTensor&)> convert) {
  const auto items =
      [convert](const graph::HostValue::Items& from) -> absl::StatusOr<std::vector<Value>> {
    std::vector<Value> to;
    for (const graph::HostValue& item : from) {
      absl::StatusOr<Value> converted = FromGraph(item, convert);
      if (!converted.ok()) return converted.status();
      to.push_back(*std::move(converted));
    }
    return to;
  };
  using Host = graph::HostValue;
  if (const auto* tensor = std::get_if<graph::HostTensor>(&value.value)) return convert(*tensor);
  if (const auto* list = std::get_if<Host::List>(&value.value)) {
    auto converted = items(list->items);
    if (!converted.ok()) return converted.status();
    return Value(Value::List{*std::move(converted)});
  }
  if (const auto* tuple = std::get_if<Host::Tuple>(&value.value)) {
    auto converted = items(tuple->items);
    if (!converted.ok()) return converted.status();
    return Value(Value::Tuple{*std::move(converted)});
  }
  if (const auto* dict = std::get_if<Host::Dict>(&value.value)) {
    Value::Dict converted;
    for (const auto& [key, item] : dict->entries) {
      absl::StatusOr<Value> entry = FromGraph(item, convert);
      if (!entry.ok()) return entry.status();
      converted.entries.emplace_back(key, *std::move(entry));
    }
    return Value(std::move(converted));
  }
  if (const auto* boolean = std::get_if<bool>(&value.value)) return Value(*boolean);
  if (const auto* integer = std::get_if<int64_t>(&value.value)) return Value(*integer);
  if (const auto* floating = std::get_if<double>(&value.value)) return Value(*floating);
  if (const auto* text = std::get_if<std::string>(&value.value)) return Value(*text);
  return Value();
}

absl::StatusOr<Value> FromGraph(const graph::HostValue& value) {
  return FromGraph(value, [](const graph::HostTensor& tensor) -> absl::StatusOr<Value> {
    absl::StatusOr<Tensor> converted = FromGraph(tensor);
    if (!converted.ok()) return converted.status();
    return Value(*std::move(converted));
  });
}

ErrorDetails FromGraph(const graph::Error& error) {
  ErrorDetails details;
  details.code = error.code;
  details.message = error.message;
  details.node = error.node;
  details.statement = error.statement;
  details.file = error.source.file;
  details.line = error.source.line;
  details.hint = error.hint;
  details.site = error.site;
  details.retry_after_seconds = error.retry_after_seconds;
  return details;
}

std::string PointName(graph::Point point) {
  // The root's site of that name, which begins with a dot where a module would stand before it.
  std::string name = graph::ToString(graph::Site{"", point, 0});
  if (!name.empty() && name.front() == '.') name.erase(0, 1);
  return name;
}

}  // namespace weft::internal

namespace weft {

std::optional<ErrorDetails> GetError(const absl::Status& status) {
  if (status.ok()) return std::nullopt;
  return internal::FromGraph(graph::FromStatus(status));
}

}  // namespace weft
