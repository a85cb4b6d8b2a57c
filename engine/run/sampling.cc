#include "engine/run/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace weft::run {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Forbid the tokens with which the last of `ids` would be so many tokens in a row that are there
/// already.
void Forbid(absl::Span<const int64_t> ids, size_t size, std::vector<double>& logits) {
  if (ids.size() < size) return;
  const absl::Span<const int64_t> last = ids.subspan(ids.size() - (size - 1));
  for (size_t begin = 0; begin + size <= ids.size(); ++begin) {
    const int64_t next = ids[begin + size - 1];
    if (next < 0 || next >= static_cast<int64_t>(logits.size())) continue;
    if (std::equal(last.begin(), last.end(), ids.begin() + static_cast<ptrdiff_t>(begin))) {
      logits[next] = kNever;
    }
  }
}

void Penalise(const graph::GenerateOptions& options, const TokenChooser::Row& row,
              std::vector<double>& logits) {
  const auto vocabulary = static_cast<int64_t>(logits.size());
  if (options.repetition_penalty != 0 && options.repetition_penalty != 1) {
    absl::flat_hash_set<int64_t> seen(row.ids.begin(), row.ids.end());
    for (const int64_t id : seen) {
      if (id < 0 || id >= vocabulary) continue;
      double& logit = logits[id];
      logit = logit < 0 ? logit * options.repetition_penalty : logit / options.repetition_penalty;
    }
  }
  if (options.no_repeat_ngram_size > 0) Forbid(row.ids, options.no_repeat_ngram_size, logits);
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    absl::flat_hash_map<int64_t, int64_t> counts;
    for (const int64_t id : row.ids.subspan(row.prompt)) ++counts[id];
    for (const auto& [id, count] : counts) {
      if (id < 0 || id >= vocabulary) continue;
      logits[id] -=
          options.presence_penalty + options.frequency_penalty * static_cast<double>(count);
    }
  }
}

/// Divide by the temperature. The largest is taken away first, so that no temperature is too small.
void Sharpen(double temperature, std::vector<double>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  for (double& logit : logits) {
    // An infinite one leaves nothing to the others.
    if (std::isinf(largest)) {
      logit = largest > 0 && logit == largest ? 0 : kNever;
    } else {
      logit = (logit - largest) / temperature;
    }
  }
}

/// Keep the `count` largest, and those equal to the last of them.
void KeepTop(size_t count, std::vector<double>& logits) {
  if (count == 0 || count >= logits.size()) return;
  std::vector<double> sorted = logits;
  const auto last = sorted.begin() + static_cast<ptrdiff_t>(count - 1);
  std::nth_element(sorted.begin(), last, sorted.end(), std::greater<>());
  for (double& logit : logits) {
    if (logit < *last) logit = kNever;
  }
}

/// Keep the likeliest tokens whose probabilities come to `mass`: each one before which less has
/// come.
void KeepMass(double mass, std::vector<double>& logits) {
  const std::vector<double> probabilities = Probabilities(logits);
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  // Of equal ones the first comes first.
  const auto likelier = [&](size_t a, size_t b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  };
  double before = 0;
  size_t kept = 0;
  // A few are enough as a rule: only so many are sorted.
  for (size_t sorted = 0; kept == sorted && sorted < order.size();) {
    const size_t next = std::min(order.size(), std::max<size_t>(256, 4 * sorted));
    const auto begin = order.begin() + static_cast<ptrdiff_t>(sorted);
    const auto end = order.begin() + static_cast<ptrdiff_t>(next);
    std::nth_element(begin, end - 1, order.end(), likelier);
    std::sort(begin, end, likelier);
    for (sorted = next; kept < sorted && (kept == 0 || before < mass); ++kept) {
      before += probabilities[order[kept]];
    }
    if (kept < sorted) break;
  }
  for (size_t i = kept; i < order.size(); ++i) logits[order[i]] = kNever;
}

/// Keep those at least `part` as likely as the likeliest.
void KeepLikely(double part, std::vector<double>& logits) {
  const double least = *std::max_element(logits.begin(), logits.end()) + std::log(part);
  for (double& logit : logits) {
    if (logit < least) logit = kNever;
  }
}

bool ChangesNothing(const graph::GenerateOptions& options) {
  return !options.Samples() &&
         (options.repetition_penalty == 0 || options.repetition_penalty == 1) &&
         options.no_repeat_ngram_size == 0 && options.presence_penalty == 0 &&
         options.frequency_penalty == 0;
}

/// The token at which the probabilities, put one behind the other, pass `random`.
int64_t Draw(absl::Span<const double> logits, double random) {
  const std::vector<double> probabilities = Probabilities(logits);
  int64_t last = 0;
  for (size_t id = 0; id < probabilities.size(); ++id) {
    if (probabilities[id] == 0) continue;
    last = static_cast<int64_t>(id);
    if (random < probabilities[id]) return last;
    random -= probabilities[id];
  }
  return last;  // by rounding
}

}  // namespace

uint64_t Mix(uint64_t seed, absl::Span<const uint64_t> parts) {
  uint64_t mixed = seed;
  for (const uint64_t part : parts) {
    mixed += 0x9e3779b97f4a7c15 + part;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    mixed ^= mixed >> 31;
  }
  return mixed;
}

uint64_t RowKey(absl::Span<const int64_t> prompt, uint64_t occurrence) {
  uint64_t key = prompt.size();
  for (const int64_t id : prompt) key = Mix(key, {static_cast<uint64_t>(id)});
  return Mix(key, {occurrence});
}

double UniformOf(uint64_t seed, uint64_t row_key, uint64_t step) {
  return static_cast<double>(Mix(seed, {row_key, step}) >> 11) * 0x1p-53;
}

absl::Status NaNLogits() {
  return absl::FailedPreconditionError(
      "the logits are NaN, so there is no next token to choose; what was written at the sites "
      "before them may be");
}

absl::Status NothingToChoose() {
  return absl::FailedPreconditionError(
      "all logits are minus infinity, so there is no next token to choose; leave one that is not, "
      "beside what min_new_tokens and no_repeat_ngram_size forbid");
}

std::vector<double> Probabilities(absl::Span<const double> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> probabilities(logits.size());
  double total = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    total += probabilities[i] = std::exp(logits[i] - largest);
  }
  for (double& probability : probabilities) probability /= total;
  return probabilities;
}

TokenChooser::TokenChooser(const graph::GenerateOptions& options, absl::Span<const int64_t> eos_ids)
    : options_(options),
      eos_(options.eos_token_ids.empty()
               ? absl::flat_hash_set<int64_t>(eos_ids.begin(), eos_ids.end())
               : absl::flat_hash_set<int64_t>(options.eos_token_ids.begin(),
                                              options.eos_token_ids.end())),
      plain_(ChangesNothing(options)) {}

void TokenChooser::Process(const Row& row, std::vector<double>& logits) const {
  Penalise(options_, row, logits);
  if (row.added() < options_.min_new_tokens) {
    for (const int64_t id : eos_) {
      if (id >= 0 && id < static_cast<int64_t>(logits.size())) logits[id] = kNever;
    }
  }
  if (!options_.Samples() || *std::max_element(logits.begin(), logits.end()) == kNever) return;
  Sharpen(options_.temperature > 0 ? options_.temperature : 1, logits);
  if (options_.top_k > 0) KeepTop(options_.top_k, logits);
  if (options_.top_p > 0 && options_.top_p < 1) KeepMass(options_.top_p, logits);
  if (options_.min_p > 0) KeepLikely(options_.min_p, logits);
}

absl::StatusOr<int64_t> TokenChooser::Likeliest(const Row& row,
                                                absl::Span<const float> logits) const {
  int64_t best = -1;
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t id = 0; id < static_cast<int64_t>(logits.size()); ++id) {
    const float logit = logits[id];
    if (std::isnan(logit)) return NaNLogits();
    if (logit <= largest || !MayCome(id, row.added())) continue;
    best = id;
    largest = logit;
  }
  if (best < 0) return NothingToChoose();
  return best;
}

absl::StatusOr<int64_t> TokenChooser::Choose(const Row& row, absl::Span<const float> logits,
                                             double random) const {
  if (plain_) return Likeliest(row, logits);
  std::vector<double> processed(logits.begin(), logits.end());
  for (const double logit : processed) {
    if (std::isnan(logit)) return NaNLogits();
  }
  Process(row, processed);
  const auto largest = std::max_element(processed.begin(), processed.end());
  if (*largest == kNever) return NothingToChoose();
  if (options_.Samples()) return Draw(processed, random);
  return largest - processed.begin();
}

}  // namespace weft::run
