#include "client/remote/constants.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "engine/graph/codec.h"
#include "engine/graph/content_hash.h"

namespace weft::remote {
namespace {

// More are forgotten, and then asked for once more.
constexpr size_t kMostRemembered = 4096;
// A blob that ends so soon might end under way.
constexpr absl::Duration kMargin = absl::Minutes(1);

/// The server takes none, or no more.
bool IsRefusal(const absl::Status& status) {
  return absl::IsUnimplemented(status) || absl::IsResourceExhausted(status);
}

}  // namespace

absl::StatusOr<std::string> Constants::HashOf(const graph::HostTensor& tensor) {
  if (tensor.owner == nullptr) return graph::ContentHash::Of(tensor.data, tensor.bytes);
  {
    absl::MutexLock lock(&mutex_);
    const auto found = hashed_.find(tensor.data);
    if (found != hashed_.end() && found->second.bytes == tensor.bytes &&
        found->second.owner.lock() == tensor.owner) {
      return found->second.hash;
    }
  }
  absl::StatusOr<std::string> hash = graph::ContentHash::Of(tensor.data, tensor.bytes);
  if (!hash.ok()) return hash;
  absl::MutexLock lock(&mutex_);
  absl::erase_if(hashed_, [](const auto& entry) { return entry.second.owner.expired(); });
  if (hashed_.size() >= kMostRemembered) hashed_.clear();
  hashed_[tensor.data] = {tensor.owner, tensor.bytes, *hash};
  return hash;
}

absl::Status Constants::Ensure(const graph::HostTensor& tensor, const std::string& hash,
                               Upload upload) {
  {
    absl::MutexLock lock(&mutex_);
    const auto found = expires_.find(hash);
    if (found != expires_.end() && found->second - kMargin > absl::Now()) return absl::OkStatus();
  }
  absl::StatusOr<absl::Time> expires = upload(tensor, hash);
  if (!expires.ok()) return expires.status();
  absl::MutexLock lock(&mutex_);
  if (expires_.size() >= kMostRemembered) expires_.clear();
  expires_[hash] = *expires;
  return absl::OkStatus();
}

absl::Status Constants::Encode(const graph::Program& program, Upload upload,
                               v1::RunRequest* request, std::vector<std::string>* uploaded,
                               Which which) {
  uploaded->clear();
  std::vector<graph::NodeId> constants;
  uint64_t left = 0;  // bytes that travel with the program
  for (graph::NodeId id = 1; id <= program.nodes.size(); ++id) {
    const auto* constant = std::get_if<graph::Constant>(&program.at(id).kind);
    if (constant == nullptr || !constant->blob.empty()) continue;
    constants.push_back(id);
    left += constant->tensor.bytes;
  }
  const auto bytes_of = [&](graph::NodeId id) {
    return std::get<graph::Constant>(program.at(id).kind).tensor.bytes;
  };
  // The largest first, and of equal ones the first.
  std::stable_sort(constants.begin(), constants.end(),
                   [&](graph::NodeId a, graph::NodeId b) { return bytes_of(a) > bytes_of(b); });
  std::optional<graph::Program> sent;  // made where it differs
  for (graph::NodeId id : constants) {
    if (left <= kInlineBytes && (which == kOnlyWhatMust || bytes_of(id) < kUploadedBytes)) break;
    if (!sent.has_value()) sent = program;
    auto& constant = std::get<graph::Constant>(sent->nodes[id - 1].kind);
    absl::StatusOr<std::string> hash = HashOf(constant.tensor);
    if (!hash.ok()) return hash.status();
    const absl::Status there = Ensure(constant.tensor, *hash, upload);
    if (IsRefusal(there) && left <= kInlineBytes) break;
    if (!there.ok()) return there;
    left -= constant.tensor.bytes;
    uploaded->push_back(*hash);
    constant.blob = *std::move(hash);
    constant.tensor.data = nullptr;
    constant.tensor.owner = nullptr;
    constant.tensor.bytes = 0;
  }
  graph::EncodeProgram(sent.has_value() ? *sent : program, request->mutable_program());
  return absl::OkStatus();
}

void Constants::Forget(const std::vector<std::string>& hashes) {
  absl::MutexLock lock(&mutex_);
  for (const std::string& hash : hashes) expires_.erase(hash);
}

}  // namespace weft::remote
