#include "engine/text/token_cache.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace weft::text {
namespace {

constexpr size_t kEntryBytes = 128;  // of an entry besides text and ids, roughly
constexpr size_t kLargestPart = 8;

}  // namespace

absl::StatusOr<std::vector<int64_t>> TokenCache::Encode(const std::string& owner,
                                                        const std::string& text,
                                                        bool add_special_tokens) {
  // An owner's id has no NUL, so the first one ends it, whatever the text has.
  std::string key =
      absl::StrCat(owner, absl::string_view("\0", 1), add_special_tokens ? "s" : "t", text);
  {
    absl::MutexLock lock(&mutex_);
    if (const auto found = ids_.find(key); found != ids_.end()) {
      ++hits_;
      return found->second;
    }
  }
  // Without the lock: others need not wait for a long text.
  absl::StatusOr<std::vector<int64_t>> ids = tokenizer_->Encode(text, add_special_tokens);
  if (!ids.ok()) return ids;
  const size_t bytes = key.size() + ids->size() * sizeof(int64_t) + kEntryBytes;
  if (bytes > max_bytes_ / kLargestPart) return ids;
  absl::MutexLock lock(&mutex_);
  if (bytes_ + bytes > max_bytes_) {
    ids_.clear();
    bytes_ = 0;
  }
  if (ids_.try_emplace(std::move(key), *ids).second) bytes_ += bytes;
  return ids;
}

uint64_t TokenCache::hits() const {
  absl::MutexLock lock(&mutex_);
  return hits_;
}

}  // namespace weft::text
