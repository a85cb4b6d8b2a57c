#include "server/service/program_blobs.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/content_hash.h"
#include "engine/graph/error.h"
#include "server/service/messages.h"

namespace weft::server {
namespace {

// Each is mapped for as long as the run, and a process may have some 65000 mappings.
constexpr size_t kMostBlobs = 4096;

absl::Status NoStore() { return absl::UnimplementedError("this server keeps no blobs"); }

}  // namespace

absl::StatusOr<UsedBlobs> FindBlobs(const keys::Key& key, blobs::BlobStore* store,
                                    graph::Program* program) {
  UsedBlobs used;
  absl::flat_hash_map<std::string, size_t> known;  // where each is in `used`
  for (graph::NodeId id = 1; id <= program->nodes.size(); ++id) {
    auto* constant = std::get_if<graph::Constant>(&program->nodes[id - 1].kind);
    if (constant == nullptr || constant->blob.empty()) continue;
    if (store == nullptr) return NoStore();
    const auto [place, is_new] = known.try_emplace(constant->blob, used.size());
    if (is_new) {
      absl::StatusOr<std::shared_ptr<const blobs::UsedBlob>> found =
          store->Use(key, constant->blob);
      if (absl::IsNotFound(found.status())) {
        return graph::StatementError(
            found.status().code(), *program, id, std::string(found.status().message()),
            absl::StrCat("upload it, once more if it was uploaded before: a blob is removed when "
                         "it was not used for ",
                         absl::FormatDuration(store->time_to_live())));
      }
      if (!found.ok()) return found.status();
      if (used.size() == kMostBlobs) {
        return graph::StatementError(absl::StatusCode::kResourceExhausted, *program, id,
                                     absl::StrCat("up to here the program has ", kMostBlobs + 1,
                                                  " different blobs; it may have ", kMostBlobs),
                                     "put several tensors into one blob, and take slices of it");
      }
      used.push_back(*std::move(found));
    }
    const std::shared_ptr<const blobs::MappedFile>& blob = used[place->second]->file;
    constant->tensor.data = blob->data();
    constant->tensor.bytes = blob->bytes();
    constant->tensor.owner = blob;
    if (absl::Status fits = graph::CheckTensor(constant->tensor); !fits.ok()) {
      return graph::StatementError(fits.code(), *program, id, std::string(fits.message()),
                                   "give the dtype and shape that the blob was made with");
    }
  }
  return used;
}

absl::StatusOr<v1::Value> KeepValue(const keys::Key& key, blobs::BlobStore* store,
                                    const graph::HostValue& value) {
  if (store == nullptr) return NoStore();
  v1::Value message;
  std::vector<graph::HostTensor> tensors;
  if (absl::Status encoded = EncodeValue(value, 0, &message, &tensors); !encoded.ok()) {
    return encoded;
  }
  std::vector<blobs::BlobStore::Bytes> contents;
  contents.reserve(tensors.size());
  for (const graph::HostTensor& tensor : tensors) contents.push_back({tensor.data, tensor.bytes});
  absl::StatusOr<std::vector<blobs::Blob>> kept = store->Keep(key, contents);
  if (!kept.ok()) return kept.status();
  std::vector<std::string> hashes;
  hashes.reserve(kept->size());
  for (const blobs::Blob& blob : *kept) hashes.push_back(blob.sha256);
  SetBlobs(hashes, &message);
  return message;
}

void EncodeBlob(const blobs::Blob& blob, v1::Blob* message) {
  message->set_sha256(blob.sha256);
  message->set_bytes(blob.bytes);
  message->set_expires_unix_seconds(absl::ToUnixSeconds(blob.expires));
}

}  // namespace weft::server
