#include "engine/exported/weights.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/plan/planner.h"

namespace weft::exported {
namespace {

std::string TypeText(const Payload& payload) {
  return absl::StrCat(graph::ToString(payload.dtype), "[", absl::StrJoin(payload.sizes, ", "), "]");
}

class WeightReader {
 public:
  WeightReader(const Archive& archive, at::Device device) : archive_(archive), device_(device) {
    for (const std::string& name : archive.Names()) {
      if (const absl::StatusOr<uint64_t> bytes = archive.SizeOf(name); bytes.ok()) {
        most_bytes_ += kMostCopies * *bytes;
      }
    }
  }

  absl::StatusOr<at::Tensor> Read(const std::string& name, const Payload& payload) {
    const std::string shown = absl::StrCat("`", Shown(name), "` ", TypeText(payload));
    // How many elements there are, and the last one's place in the bytes; `extent`: without zeros.
    int64_t elements = 1, extent = 1, last = payload.offset;
    bool fits = payload.offset >= 0 && payload.sizes.size() == payload.strides.size();
    for (size_t d = 0; fits && d < payload.sizes.size(); ++d) {
      const int64_t size = payload.sizes[d], stride = payload.strides[d];
      int64_t reach = 0;
      fits = size >= 0 && stride >= 0 && !__builtin_mul_overflow(elements, size, &elements) &&
             !__builtin_mul_overflow(extent, std::max<int64_t>(size, 1), &extent) &&
             !__builtin_mul_overflow(std::max<int64_t>(size - 1, 0), stride, &reach) &&
             !__builtin_add_overflow(last, reach, &last);
    }
    if (!fits) return archive_.Refuse(absl::StrCat(shown, ": its shape cannot be"));
    const auto dtype = plan::ToScalarType(payload.dtype);
    if (elements == 0) return at::empty(payload.sizes, at::TensorOptions(device_).dtype(dtype));
    absl::StatusOr<at::Tensor> stored = Stored(payload);
    if (!stored.ok()) return stored;
    // Each element of the tensor is one of its own in the bytes: else a few could claim to be many.
    if (last >= stored->numel() || elements > stored->numel()) {
      return archive_.Refuse(absl::StrCat(shown, ": entry `", Shown(payload.entry), "` has ",
                                          stored->numel(), " elements, and it reaches to ",
                                          std::max(last + 1, elements)));
    }
    at::Tensor tensor = stored->as_strided(payload.sizes, payload.strides, payload.offset);
    // Laid out as a program's values are.
    if (!tensor.is_contiguous()) {
      absl::Status status = Spend(shown, static_cast<uint64_t>(tensor.nbytes()));
      if (!status.ok()) return status;
    }
    return tensor.contiguous();
  }

 private:
  /// Of the archive's own bytes: views of them that are laid out anew, and dtypes to read them as.
  static constexpr uint64_t kMostCopies = 4;

  absl::Status Spend(const std::string& shown, uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= most_bytes_) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat(archive_.path(), ": ", shown, ": the weights up to here take ", bytes_,
                     " bytes, more than ", kMostCopies, " times what the archive holds"));
  }

  /// The bytes of an entry, once for all who share them.
  absl::StatusOr<at::Tensor> Stored(const Payload& payload) {
    const auto key = std::make_pair(payload.entry, payload.dtype);
    const auto found = stored_.find(key);
    if (found != stored_.end()) return found->second;
    absl::StatusOr<uint64_t> bytes = archive_.SizeOf(payload.entry);
    if (!bytes.ok()) return bytes.status();
    const auto size = static_cast<uint64_t>(graph::SizeOf(payload.dtype));
    if (*bytes % size != 0) {
      return archive_.Refuse(absl::StrCat("entry `", Shown(payload.entry), "` has ", *bytes,
                                          " bytes, which are no elements of ",
                                          graph::ToString(payload.dtype)));
    }
    absl::Status spent = Spend(absl::StrCat("entry `", Shown(payload.entry), "`"), *bytes);
    if (!spent.ok()) return spent;
    at::Tensor tensor =
        at::empty({static_cast<int64_t>(*bytes / size)}, plan::ToScalarType(payload.dtype));
    absl::Status status = archive_.ReadInto(payload.entry, tensor.mutable_data_ptr(), *bytes);
    if (!status.ok()) return status;
    if (payload.dtype == graph::DType::kBool) {
      const auto* truths = static_cast<const uint8_t*>(tensor.const_data_ptr());
      for (int64_t i = 0; i < tensor.numel(); ++i) {
        if (truths[i] > 1) {
          return archive_.Refuse(absl::StrCat("entry `", Shown(payload.entry),
                                              "` holds a bool that is neither 0 nor 1"));
        }
      }
    }
    return stored_.emplace(key, tensor.to(device_)).first->second;
  }

  const Archive& archive_;
  const at::Device device_;
  std::map<std::pair<std::string, graph::DType>, at::Tensor> stored_;
  uint64_t bytes_ = 0, most_bytes_ = 0;
};

/// Whether the graph was made for such a tensor.
bool Expects(const TensorMeta& meta, const Payload& payload) {
  if (meta.dtype != payload.dtype || meta.sizes.size() != payload.sizes.size()) return false;
  for (size_t d = 0; d < meta.sizes.size(); ++d) {
    if (meta.sizes[d].dynamic || meta.sizes[d].value != payload.sizes[d]) return false;
  }
  return true;
}

}  // namespace

absl::Status LoadWeights(const Archive& archive, Graph& graph) {
  WeightReader reader(archive, graph.device);
  for (const Input& input : graph.program.inputs) {
    if (input.kind == Input::Kind::kUser) continue;
    const Payload* payload = graph.program.FindPayload(input);
    if (payload == nullptr) {
      return archive.Refuse(absl::StrCat("there are no bytes for `", Shown(input.target), "`"));
    }
    const Value& value = graph.program.values[input.value];
    if (value.meta && !Expects(*value.meta, *payload)) {
      return archive.Refuse(absl::StrCat("`", Shown(input.target), "` is stored as ",
                                         TypeText(*payload),
                                         ", and the program was made for another type"));
    }
    absl::StatusOr<at::Tensor> tensor = reader.Read(input.target, *payload);
    if (!tensor.ok()) return tensor.status();
    graph.given[input.value] = *std::move(tensor);
  }
  return absl::OkStatus();
}

}  // namespace weft::exported
