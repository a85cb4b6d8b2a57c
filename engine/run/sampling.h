#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/graph/program.h"

namespace weft::run {

/// How the next token of one row is chosen from its logits, as a generation's options say: what
/// transformers' `generate` does with a LogitsProcessorList, and then its own draw.
///
/// Rows are looked at one by one, in double precision, so what a row gets depends on nobody else's.
/// Const once made and thread-safe.
class TokenChooser {
 public:
  /// What a row has come to.
  struct Row {
    absl::Span<const int64_t> ids;  // prompt and new tokens, without pads
    size_t prompt = 0;              // how many of them are the prompt's
    size_t added() const { return ids.size() - prompt; }
  };

  /// `options` must outlive it; `eos_ids` are the model's own, for where they name none.
  TokenChooser(const graph::GenerateOptions& options, absl::Span<const int64_t> eos_ids);

  const graph::GenerateOptions& options() const { return options_; }
  /// The token ends its row.
  bool IsEnd(int64_t id) const { return eos_.contains(id); }
  /// How many do.
  size_t ends() const { return eos_.size(); }
  /// The likeliest of the logits as they are is what Choose gives, where MayCome allows it.
  bool TakesLikeliest() const { return plain_; }
  /// The token may follow `added` new ones: not where it would end its row too early.
  bool MayCome(int64_t id, size_t added) const {
    return added >= options_.min_new_tokens || !IsEnd(id);
  }

  /// Change the logits of a row as the options say, in transformers' order. What cannot be chosen
  /// is minus infinity afterwards. Where it samples, the rest is up to a constant.
  void Process(const Row& row, std::vector<double>& logits) const;

  /// Choose from a row's logits. `random` is uniform in [0, 1) and used where it samples.
  /// kFailedPrecondition if the logits are NaN or none can be chosen.
  absl::StatusOr<int64_t> Choose(const Row& row, absl::Span<const float> logits,
                                 double random) const;

 private:
  absl::StatusOr<int64_t> Likeliest(const Row& row, absl::Span<const float> logits) const;

  const graph::GenerateOptions& options_;
  const absl::flat_hash_set<int64_t> eos_;
  const bool plain_;  // no logit is changed but by min_new_tokens
};

/// What is said of a row whose logits are NaN.
absl::Status NaNLogits();
/// And of one whose logits are all minus infinity.
absl::Status NothingToChoose();

/// The probabilities of processed logits: softmax.
std::vector<double> Probabilities(absl::Span<const double> logits);

/// What names the random numbers of a row among those of its run: its prompt, and how many rows of
/// the invoke before it have the same one.
uint64_t RowKey(absl::Span<const int64_t> prompt, uint64_t occurrence);
/// Uniform in [0, 1): the random number of a row in a step of a run with this seed.
double UniformOf(uint64_t seed, uint64_t row_key, uint64_t step);
/// Mixed as by splitmix64, so that neighbours have nothing in common.
uint64_t Mix(uint64_t seed, absl::Span<const uint64_t> parts);

}  // namespace weft::run
