#include "weft/blob.h"

#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "weft/backend.h"

namespace weft {

std::string Blob::Type() const {
  return absl::StrCat(weft::ToString(dtype_), "[", absl::StrJoin(shape_, ", "), "]");
}

std::string Blob::ToString() const {
  return absl::StrCat("blob(", weft::ToString(dtype_), ", [", absl::StrJoin(shape_, ", "), "], \"",
                      hash_, "\")");
}

std::ostream& operator<<(std::ostream& out, const Blob& blob) { return out << blob.ToString(); }

namespace {

absl::Status NoBlobs() { return absl::UnimplementedError("this backend keeps no blobs"); }

}  // namespace

absl::StatusOr<Blob> Backend::UploadBlob(const Tensor&) { return NoBlobs(); }
absl::StatusOr<BlobList> Backend::ListBlobs() { return NoBlobs(); }
absl::Status Backend::DeleteBlob(const std::string&) { return NoBlobs(); }

}  // namespace weft
