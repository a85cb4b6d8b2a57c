#include "client/local/local_blobs.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/content_hash.h"
#include "engine/graph/error.h"

namespace weft {
namespace {

absl::Status NoSuchBlob(const std::string& hash) {
  return absl::NotFoundError(absl::StrCat("there is no blob ", hash));
}

}  // namespace

absl::StatusOr<Blob> LocalBlobs::Keep(const graph::HostTensor& tensor) {
  absl::StatusOr<std::string> sha256 = graph::ContentHash::Of(tensor.data, tensor.bytes);
  if (!sha256.ok()) return sha256.status();
  std::string hash = graph::ContentHash::ToText(*sha256);
  {
    absl::MutexLock lock(&mutex_);
    blobs_.emplace(hash, tensor);
  }
  return Blob(std::move(hash), static_cast<DType>(tensor.dtype), tensor.shape);
}

absl::Status LocalBlobs::Find(graph::Program* program) const {
  for (graph::NodeId id = 1; id <= program->nodes.size(); ++id) {
    auto* constant = std::get_if<graph::Constant>(&program->nodes[id - 1].kind);
    if (constant == nullptr || constant->blob.empty()) continue;
    const std::string hash = graph::ContentHash::ToText(constant->blob);
    {
      absl::MutexLock lock(&mutex_);
      const auto found = blobs_.find(hash);
      if (found == blobs_.end()) {
        const absl::Status missing = NoSuchBlob(hash);
        return graph::StatementError(missing.code(), *program, id, std::string(missing.message()),
                                     "upload it: blobs in process last as long as the client");
      }
      constant->tensor.owner = found->second.owner;
      constant->tensor.data = found->second.data;
      constant->tensor.bytes = found->second.bytes;
    }
    if (absl::Status fits = graph::CheckTensor(constant->tensor); !fits.ok()) {
      return graph::StatementError(fits.code(), *program, id, std::string(fits.message()),
                                   "give the dtype and shape that the blob was made with");
    }
  }
  return absl::OkStatus();
}

BlobList LocalBlobs::List() const {
  BlobList list;
  absl::MutexLock lock(&mutex_);
  for (const auto& [hash, tensor] : blobs_) list.blobs.push_back({hash, tensor.bytes});
  return list;
}

absl::Status LocalBlobs::Delete(const std::string& hash) {
  absl::MutexLock lock(&mutex_);
  return blobs_.erase(hash) > 0 ? absl::OkStatus() : NoSuchBlob(hash);
}

}  // namespace weft
