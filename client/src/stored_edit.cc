#include "weft/stored_edit.h"

#include "engine/graph/edit_name.h"
#include "weft/backend.h"

namespace weft {
namespace {

absl::Status NoEdits() { return absl::UnimplementedError("this backend keeps no edits"); }

}  // namespace

std::string EditVersion::ToString() const { return graph::EditName{name, version}.ToString(); }

absl::StatusOr<EditVersion> Backend::StoreEdit(const std::string&, const std::string&,
                                               const Program&, const StoreEditOptions&) {
  return NoEdits();
}
absl::StatusOr<EditList> Backend::ListEdits(const std::string&) { return NoEdits(); }
absl::StatusOr<StoredEdit> Backend::GetEdit(const std::string&, const std::string&, uint64_t) {
  return NoEdits();
}
absl::StatusOr<uint64_t> Backend::DeleteEdit(const std::string&, const std::string&, uint64_t) {
  return NoEdits();
}

}  // namespace weft
