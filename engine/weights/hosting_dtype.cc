#include "engine/weights/hosting_dtype.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/weights/dtype_names.h"

namespace weft::weights {
namespace {

/// Of kHostingDtypes all but `auto`.
constexpr struct {
  const char* name;
  at::ScalarType type;
} kDtypes[] = {{"float32", at::kFloat}, {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}};
static_assert(std::size(kDtypes) + 1 == kHostingDtypes.size());

absl::Status NotHosted(const std::string& where, const std::string& dtype) {
  return absl::UnimplementedError(
      absl::StrCat(where, " is ", dtype, ", in which models cannot be hosted; choose the `dtype` ",
                   absl::StrJoin(kHostingDtypes.begin() + 1, kHostingDtypes.end(), ", ")));
}

}  // namespace

absl::StatusOr<std::optional<at::ScalarType>> ParseHostingDtype(const std::string& name) {
  if (name == kHostingDtypes[0]) return std::nullopt;
  for (const auto& dtype : kDtypes) {
    if (name == dtype.name) return dtype.type;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the dtype `", name, "` is none of ", absl::StrJoin(kHostingDtypes, ", ")));
}

std::string HostingDtypeName(at::ScalarType type) {
  for (const auto& dtype : kDtypes) {
    if (type == dtype.type) return dtype.name;
  }
  return c10::toString(type);
}

absl::StatusOr<at::ScalarType> DtypeOfCheckpoint(const ModelConfig& config,
                                                 const Checkpoint* checkpoint) {
  for (const char* field : {"dtype", "torch_dtype"}) {
    if (!config.Has(field)) continue;
    absl::StatusOr<std::string> name = config.Get<std::string>(field);
    if (!name.ok()) return name.status();
    for (const auto& dtype : kDtypes) {
      if (*name == dtype.name) return dtype.type;
    }
    return NotHosted(absl::StrCat(config.path(), ": `", field, "`"), absl::StrCat("`", *name, "`"));
  }
  std::optional<at::ScalarType> stored;
  if (checkpoint != nullptr) stored = checkpoint->FloatType();
  if (!stored) return at::kFloat;
  for (const auto& dtype : kDtypes) {
    if (*stored == dtype.type) return dtype.type;
  }
  return NotHosted(absl::StrCat("the first weight of the checkpoint in ", checkpoint->path()),
                   c10::toString(*stored));
}

}  // namespace weft::weights
