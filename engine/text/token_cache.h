#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/text/tokenizer.h"

namespace weft::text {

/// The ids of texts that were tokenised before: an experiment sends the same prompts many times.
///
/// An owner finds what they sent themselves, and nothing else: how soon a text is answered tells
/// nobody what others have asked. Errors are not kept. Thread-safe.
class TokenCache {
 public:
  /// `tokenizer` must outlive the cache; nullptr where no text is ever tokenised. Texts and ids
  /// take at most about `max_bytes`; one that would take more than an eighth of it is not kept.
  explicit TokenCache(const Tokenizer* tokenizer, size_t max_bytes = size_t{16} << 20)
      : tokenizer_(tokenizer), max_bytes_(max_bytes) {}

  /// As Tokenizer::Encode. `owner` is a key's id, or empty.
  absl::StatusOr<std::vector<int64_t>> Encode(const std::string& owner, const std::string& text,
                                              bool add_special_tokens) ABSL_LOCKS_EXCLUDED(mutex_);

  /// Texts that were found.
  uint64_t hits() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const Tokenizer* const tokenizer_;
  const size_t max_bytes_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::vector<int64_t>> ids_ ABSL_GUARDED_BY(mutex_);
  /// Of all entries; when it is too much everything is dropped, which costs a tokenisation each.
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t hits_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace weft::text
