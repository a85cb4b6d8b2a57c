#include "client/cli/blobs.h"

#include <cstring>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/key_text.h"
#include "client/cli/results.h"
#include "engine/weights/safetensors.h"
#include "weft/client.h"

namespace weft::cli {
namespace {

using nlohmann::json;

std::shared_ptr<Backend> Open(const GlobalOptions& global) {
  return MakeRemoteBackend(global.target, ToRemoteOptions(global));
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

/// A copy of a file's tensor, whose bytes there need not be aligned.
absl::StatusOr<Tensor> Read(const weights::SafetensorsFile& file,
                            const weights::TensorEntry& entry) {
  absl::StatusOr<DType> dtype = DTypeOf(entry.dtype);
  if (!dtype.ok()) return dtype.status();
  const absl::string_view bytes = file.Bytes(entry);
  std::shared_ptr<char[]> copy(new char[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  const char* data = copy.get();
  return Tensor::Wrap(*dtype, entry.shape, std::move(copy), data, bytes.size());
}

}  // namespace

int ListBlobs(const GlobalOptions& global, const BlobsArguments& arguments) {
  absl::StatusOr<BlobList> list = Open(global)->ListBlobs();
  if (!list.ok()) return Report(list.status(), arguments.json);
  uint64_t bytes = 0;
  json blobs = json::array();
  for (const BlobList::Entry& blob : list->blobs) {
    bytes += blob.bytes;
    if (arguments.json) {
      blobs.push_back({{"sha256", blob.hash},
                       {"bytes", blob.bytes},
                       {"expires_unix_seconds", absl::ToUnixSeconds(blob.expires)}});
    } else {
      std::cout << blob.hash << "  " << Bytes(blob.bytes) << "  until " << TimeText(blob.expires)
                << "\n";
    }
  }
  if (arguments.json) {
    std::cout << json{{"blobs", blobs}, {"quota_bytes", list->quota_bytes}}.dump(2) << "\n";
    return kOk;
  }
  std::cout << list->blobs.size() << (list->blobs.size() == 1 ? " blob, " : " blobs, ")
            << Bytes(bytes);
  if (list->quota_bytes != 0) std::cout << " of " << Bytes(list->quota_bytes);
  std::cout << "\n";
  return kOk;
}

int UploadBlobs(const GlobalOptions& global, const BlobsArguments& arguments) {
  absl::StatusOr<weights::SafetensorsFile> file = weights::SafetensorsFile::Open(arguments.file);
  if (!file.ok()) return Report(file.status(), arguments.json);
  std::vector<const weights::TensorEntry*> entries;
  for (const std::string& name : arguments.names) {
    entries.push_back(file->FindTensor(name));
    if (entries.back() == nullptr) {
      return Report(absl::NotFoundError(absl::StrCat(arguments.file, " has no tensor ", name)),
                    arguments.json);
    }
  }
  if (arguments.names.empty()) {
    for (const weights::TensorEntry& entry : file->tensors()) entries.push_back(&entry);
  }
  const std::shared_ptr<Backend> backend = Open(global);
  json uploaded = json::object();
  for (const weights::TensorEntry* entry : entries) {
    absl::StatusOr<Tensor> tensor = Read(*file, *entry);
    absl::StatusOr<Blob> blob = tensor.ok() ? backend->UploadBlob(*tensor) : tensor.status();
    if (!blob.ok()) {
      return Report(absl::Status(blob.status().code(),
                                 absl::StrCat(entry->name, ": ", blob.status().message())),
                    arguments.json);
    }
    if (arguments.json) {
      uploaded[entry->name] = ToJson(Value(*blob), /*with_data=*/false);
    } else {
      std::cout << entry->name << "  " << *blob << std::endl;
    }
  }
  if (arguments.json) std::cout << uploaded.dump(2) << "\n";
  return kOk;
}

int DeleteBlobs(const GlobalOptions& global, const BlobsArguments& arguments) {
  const std::shared_ptr<Backend> backend = Open(global);
  for (const std::string& hash : arguments.hashes) {
    if (absl::Status status = backend->DeleteBlob(hash); !status.ok()) {
      return Report(status);
    }
  }
  return kOk;
}

}  // namespace weft::cli
