#include "client/remote/result_assembler.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/remote/messages.h"
#include "engine/graph/content_hash.h"
#include "engine/graph/value.h"

namespace weft::remote {
namespace {

constexpr int kMaxDepth = 32;
constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

absl::Status Broken(const std::string& what) {
  return absl::DataLossError("the server's results are not well formed: " + what);
}

/// A tensor that was kept has no bytes here.
absl::Status CheckBlob(const v1::TensorRef& ref) {
  if (ref.blob().size() != graph::ContentHash::kBytes) return Broken("a blob without its hash");
  const std::vector<int64_t> shape(ref.shape().begin(), ref.shape().end());
  const absl::Status shaped = graph::CheckShape(static_cast<graph::DType>(ref.dtype()), shape);
  return shaped.ok() ? shaped : Broken(std::string(shaped.message()));
}

std::shared_ptr<char> Allocate(uint64_t bytes) {
  // Uninitialised, so that pages are only touched as bytes arrive; in huge ones, where there are
  // such, because a fault for every small page costs as much as copying what it holds.
  const bool huge = bytes >= 2 * kHugePage;
  const size_t alignment = huge ? kHugePage : kAlignment;
  const uint64_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, rounded);
  if (huge && data != nullptr) madvise(data, rounded, MADV_HUGEPAGE);
  return std::shared_ptr<char>(static_cast<char*>(data), [](char* p) { std::free(p); });
}

}  // namespace

absl::Status ResultAssembler::AddParts(const v1::Value& value, int depth) {
  if (depth > kMaxDepth) return Broken("a value is nested too deep");
  switch (value.value_case()) {
    case v1::Value::kTensor: {
      const v1::TensorRef& ref = value.tensor();
      if (!ref.blob().empty()) return CheckBlob(ref);
      Part part;
      part.number = ref.tensor();
      part.dtype = static_cast<DType>(ref.dtype());
      part.shape = Shape(ref.shape().begin(), ref.shape().end());
      part.bytes = ref.bytes();
      if (part.bytes > max_bytes_ || total_bytes_ > max_bytes_ - part.bytes) {
        return absl::ResourceExhaustedError(
            absl::StrCat("the results have more than ", max_bytes_,
                         " bytes, this client's limit (max_result_bytes)"));
      }
      total_bytes_ += part.bytes;
      bytes_ += part.bytes;
      // Before memory is taken: do the size, shape and dtype agree?
      static const char kAnywhere = 0;
      const void* aligned = reinterpret_cast<const void*>(kAlignment);
      if (absl::Status status = Tensor::Wrap(part.dtype, part.shape, nullptr,
                                             part.bytes == 0 ? &kAnywhere : aligned, part.bytes)
                                    .status();
          !status.ok()) {
        return Broken(std::string(status.message()));
      }
      part.buffer = Allocate(part.bytes);
      if (part.bytes > 0 && part.buffer == nullptr) {
        return absl::ResourceExhaustedError(
            absl::StrCat("no memory for a result of ", part.bytes, " bytes"));
      }
      parts_.push_back(std::move(part));
      return absl::OkStatus();
    }
    case v1::Value::kList:
    case v1::Value::kTuple: {
      const v1::ValueList& list =
          value.value_case() == v1::Value::kList ? value.list() : value.tuple();
      for (const v1::Value& item : list.items()) {
        if (absl::Status status = AddParts(item, depth + 1); !status.ok()) return status;
      }
      return absl::OkStatus();
    }
    case v1::Value::kDict:
      for (const v1::ValueEntry& entry : value.dict().entries()) {
        if (absl::Status status = AddParts(entry.value(), depth + 1); !status.ok()) return status;
      }
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

void ResultAssembler::SkipFull() {
  while (part_ < parts_.size() && parts_[part_].received == parts_[part_].bytes) ++part_;
}

absl::Status ResultAssembler::Begin(const v1::Result& result) {
  if (begun_) return Broken("a result begins before the one before it has ended");
  begun_ = true;
  place_ = PlaceOf(result);
  value_ = result.value();
  bytes_ = received_ = 0;
  parts_.clear();
  part_ = 0;
  if (absl::Status status = AddParts(value_, 0); !status.ok()) return status;
  SkipFull();
  return absl::OkStatus();
}

absl::Status ResultAssembler::BeginChunk(uint32_t tensor, uint64_t offset, uint64_t bytes) {
  if (!begun_ || done()) return Broken("bytes that belong to no result");
  const Part& part = parts_[part_];
  if (chunk_left_ != 0 || tensor != part.number || offset != part.received ||
      bytes > part.bytes - part.received) {
    return Broken("chunks out of order");
  }
  chunk_left_ = bytes;
  return absl::OkStatus();
}

absl::Status ResultAssembler::Append(absl::string_view piece) {
  if (piece.size() > chunk_left_) return Broken("a chunk longer than it said");
  if (piece.empty()) return absl::OkStatus();
  Part& part = parts_[part_];
  std::memcpy(part.buffer.get() + part.received, piece.data(), piece.size());
  part.received += piece.size();
  received_ += piece.size();
  chunk_left_ -= piece.size();
  if (chunk_left_ == 0) SkipFull();
  return absl::OkStatus();
}

absl::StatusOr<Value> ResultAssembler::Build(const v1::Value& value, size_t* part) const {
  const auto items = [&](const v1::ValueList& from) -> absl::StatusOr<std::vector<Value>> {
    std::vector<Value> to;
    for (const v1::Value& item : from.items()) {
      absl::StatusOr<Value> built = Build(item, part);
      if (!built.ok()) return built.status();
      to.push_back(*std::move(built));
    }
    return to;
  };
  switch (value.value_case()) {
    case v1::Value::kTensor: {
      const v1::TensorRef& ref = value.tensor();
      if (!ref.blob().empty()) {
        return Value(Blob(graph::ContentHash::ToText(ref.blob()), static_cast<DType>(ref.dtype()),
                          Shape(ref.shape().begin(), ref.shape().end())));
      }
      const Part& made = parts_[(*part)++];
      absl::StatusOr<Tensor> tensor =
          Tensor::Wrap(made.dtype, made.shape, made.buffer, made.buffer.get(), made.bytes);
      if (!tensor.ok()) return tensor.status();
      return Value(*std::move(tensor));
    }
    case v1::Value::kBoolean:
      return Value(Value::Variant(value.boolean()));
    case v1::Value::kInteger:
      return Value(Value::Variant(static_cast<int64_t>(value.integer())));
    case v1::Value::kFloating:
      return Value(Value::Variant(value.floating()));
    case v1::Value::kString:
      return Value(Value::Variant(value.string()));
    case v1::Value::kList: {
      auto list = items(value.list());
      if (!list.ok()) return list.status();
      return Value(Value::List{*std::move(list)});
    }
    case v1::Value::kTuple: {
      auto tuple = items(value.tuple());
      if (!tuple.ok()) return tuple.status();
      return Value(Value::Tuple{*std::move(tuple)});
    }
    case v1::Value::kDict: {
      Value::Dict dict;
      for (const v1::ValueEntry& entry : value.dict().entries()) {
        absl::StatusOr<Value> built = Build(entry.value(), part);
        if (!built.ok()) return built.status();
        dict.entries.emplace_back(entry.key(), *std::move(built));
      }
      return Value(std::move(dict));
    }
    case v1::Value::kNone:
      return Value();
    case v1::Value::VALUE_NOT_SET:
      break;
  }
  return Broken("a value of a kind that this client does not know");
}

absl::StatusOr<event::Result> ResultAssembler::Take() {
  size_t part = 0;
  absl::StatusOr<Value> value = Build(value_, &part);
  begun_ = false;
  parts_.clear();
  part_ = 0;
  if (!value.ok()) return value.status();
  place_.value = *std::move(value);
  return std::move(place_);
}

}  // namespace weft::remote
