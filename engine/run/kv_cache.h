#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/run/memory_account.h"

namespace weft::run {

/// Keys and values of the tokens that the rows of one invoke have passed, by attention layer.
///
/// What a pass appends counts once it is committed: a pass that breaks is run again over the same
/// tokens. A layer whose attention was skipped has no keys there, and later tokens pass over them.
/// Not thread-safe.
class KVCache {
 public:
  /// For `batch` rows of at most `capacity` tokens, charged to `account`, which must outlive it.
  KVCache(int64_t batch, int64_t capacity, const MemoryAccount* account)
      : batch_(batch), capacity_(capacity), account_(account) {}

  /// Tokens that were committed.
  int64_t length() const { return length_; }
  /// Those of the first commit: of the prompts, with their pads.
  int64_t first() const { return first_; }

  struct Past {
    at::Tensor k, v;  // `[B, heads, length + T, head_dim]`, views that later appends do not change
    /// `[length + T]` bool, where keys are missing; undefined where none are.
    at::Tensor present;
  };
  /// Take the keys and values of new tokens, `[B, heads, T, head_dim]`, and give those of all.
  /// Without `write` there is room for the new ones, where the caller puts them.
  Past Append(int layer, const at::Tensor& k, const at::Tensor& v, bool write = true);

  /// The last `tokens` that were appended count.
  void Commit(int64_t tokens) {
    if (length_ == 0) first_ = tokens;
    length_ += tokens;
  }
  /// Forget what was appended and not committed.
  void Rollback();

  /// Make `times` rows of each, one behind the other, with room for `capacity` tokens: rows with
  /// one prompt have passed it once.
  void Repeat(int64_t times, int64_t capacity);
  /// From token `begin` on, row `to` has what row `from` has.
  struct Move {
    int64_t from, to, begin;
  };
  /// No row that is written to is read by a later move.
  void MoveRows(const std::vector<Move>& moves);

 private:
  struct Layer {
    at::Tensor slab;               // `[2, B, heads, capacity, head_dim]`
    at::Tensor k, v;               // of it
    std::vector<uint8_t> written;  // by token
  };
  int64_t batch_, capacity_;
  const MemoryAccount* const account_;
  std::vector<Layer> layers_;
  int64_t length_ = 0;
  int64_t first_ = 0;
};

}  // namespace weft::run
