#include "engine/run/beam_search.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "engine/graph/program.h"

namespace weft::run {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
/// The score of a place for which no text was found, as in transformers.
constexpr double kNothing = -1e9;

/// Logits to log probabilities. An infinite one leaves nothing to the others.
void ToLogProbabilities(std::vector<double>& logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  if (largest == kNever) return;
  if (std::isinf(largest)) {
    for (double& logit : logits) logit = logit == largest ? 0 : kNever;
    return ToLogProbabilities(logits);
  }
  double total = 0;
  for (const double logit : logits) total += std::exp(logit - largest);
  const double log_total = std::log(total) + largest;
  for (double& logit : logits) logit -= log_total;
}

}  // namespace

BeamSearch::BeamSearch(const TokenChooser& chooser, const Decode* decode,
                       std::vector<int64_t> prompt)
    : chooser_(chooser), count_(chooser.options().num_beams), prompt_(prompt.size()) {
  found_.assign(count_, {{}, kNothing, false});
  Beam& first = beams_.emplace_back();
  const std::vector<std::string>& stops = chooser.options().stop_strings;
  if (decode != nullptr && !stops.empty()) {
    first.text = std::make_shared<const RowText>(*decode, prompt, stops);
  }
  first.ids = std::move(prompt);
}

absl::Status BeamSearch::FindCandidates(absl::Span<const float> logits, size_t vocabulary,
                                        std::vector<Candidate>* best) const {
  const size_t wanted = count_ * std::max<size_t>(2, 1 + chooser_.ends());
  // Of equal ones the first comes first.
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
  };
  const auto cut = [&] {
    if (best->size() <= wanted) return;
    const auto end = best->begin() + static_cast<ptrdiff_t>(wanted);
    std::nth_element(best->begin(), end - 1, best->end(), better);
    best->erase(end, best->end());
  };
  best->reserve(2 * wanted);
  // What is not above the last of `wanted` found before need not be kept.
  double least = kNever;
  for (size_t beam = 0; beam < beams_.size(); ++beam) {
    const absl::Span<const float> own = logits.subspan(beams_[beam].row * vocabulary, vocabulary);
    std::vector<double> scores(own.begin(), own.end());
    if (std::any_of(scores.begin(), scores.end(), [](double s) { return std::isnan(s); })) {
      return NaNLogits();
    }
    ToLogProbabilities(scores);
    chooser_.Process({beams_[beam].ids, prompt_}, scores);
    for (size_t token = 0; token < vocabulary; ++token) {
      const double score = scores[token] + beams_[beam].score;
      if (!(score > least)) continue;
      best->push_back({score, beam, static_cast<int64_t>(token)});
      if (best->size() < 2 * wanted) continue;
      cut();
      least = best->back().score;  // nth_element has put the last of them there
    }
  }
  cut();
  std::sort(best->begin(), best->end(), better);
  return absl::OkStatus();
}

absl::StatusOr<bool> BeamSearch::Ends(const Candidate& candidate,
                                      std::shared_ptr<const RowText>* text) const {
  if (chooser_.IsEnd(candidate.token) || added_ + 1 >= chooser_.options().max_new_tokens) {
    return true;
  }
  const auto& before = beams_[candidate.beam].text;
  if (before == nullptr) return false;
  auto after = std::make_shared<RowText>(*before);
  const absl::StatusOr<std::string> more = after->Add(candidate.token);
  if (!more.ok()) return more.status();
  const bool stopped = after->stopped();
  *text = std::move(after);
  return stopped;
}

absl::Status BeamSearch::Step(absl::Span<const float> logits, size_t vocabulary) {
  const graph::GenerateOptions& options = chooser_.options();
  std::vector<Candidate> candidates;
  absl::Status status = FindCandidates(logits, vocabulary, &candidates);
  if (!status.ok()) return status;
  if (candidates.empty()) {
    if (!found_[0].ended) return NothingToChoose();
    beams_.clear();
    done_ = true;
    return absl::OkStatus();
  }
  const double penalty = options.length_penalty.value_or(1);
  const double length = std::pow(static_cast<double>(added_ + 1), penalty);
  const bool enough = HasEnough();
  std::vector<Beam> next;
  std::vector<Found> ended;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (i >= count_ && next.size() == count_) break;
    const Candidate& candidate = candidates[i];
    std::shared_ptr<const RowText> text;
    const absl::StatusOr<bool> ends = Ends(candidate, &text);
    if (!ends.ok()) return ends.status();
    const Beam& from = beams_[candidate.beam];
    if (*ends) {
      // Those behind the first num_beams are there so that enough go on.
      if (i >= count_ || enough || !may_improve_) continue;
      Found& found = ended.emplace_back();
      found.ids.assign(from.ids.begin() + static_cast<ptrdiff_t>(prompt_), from.ids.end());
      found.ids.push_back(candidate.token);
      found.score = candidate.score / length;
      found.ended = true;
    } else if (next.size() < count_) {
      Beam& beam = next.emplace_back();
      beam.ids.reserve(from.ids.size() + 1);
      beam.ids = from.ids;
      beam.ids.push_back(candidate.token);
      beam.score = candidate.score;
      beam.from = from.row;
      beam.text = std::move(text);
    }
  }
  Keep(std::move(ended));
  PlaceRows(next);
  beams_ = std::move(next);
  ++added_;
  if (beams_.empty()) {
    done_ = true;
    return absl::OkStatus();
  }
  // What the best that goes on would be worth at the length at which it would be worth most, as far
  // as that is guessed.
  const bool longest = options.early_stopping == graph::EarlyStopping::kNever && penalty > 0;
  const auto best_length = static_cast<double>(longest ? options.max_new_tokens : added_);
  const double possible = beams_[0].score / std::pow(best_length, penalty);
  const double worst = found_.back().score;
  may_improve_ = may_improve_ && std::any_of(found_.begin(), found_.end(), [&](const Found& found) {
                   return possible > (found.ended ? worst : kNothing);
                 });
  done_ = !may_improve_ || HasEnough();
  return absl::OkStatus();
}

bool BeamSearch::HasEnough() const {
  return chooser_.options().early_stopping == graph::EarlyStopping::kAtOnce &&
         std::all_of(found_.begin(), found_.end(), [](const Found& found) { return found.ended; });
}

void BeamSearch::Keep(std::vector<Found> ended) {
  if (ended.empty()) return;
  std::move(ended.begin(), ended.end(), std::back_inserter(found_));
  std::stable_sort(found_.begin(), found_.end(),
                   [](const Found& a, const Found& b) { return a.score > b.score; });
  found_.resize(count_);
}

void BeamSearch::PlaceRows(std::vector<Beam>& next) const {
  std::vector<bool> taken(count_, false), placed(next.size(), false);
  for (size_t i = 0; i < next.size(); ++i) {
    if (taken[next[i].from]) continue;
    next[i].row = next[i].from;
    next[i].common = added_;
    taken[next[i].from] = placed[i] = true;
  }
  size_t free = 0;
  for (size_t i = 0; i < next.size(); ++i) {
    if (placed[i]) continue;
    while (taken[free]) ++free;
    next[i].row = free;
    taken[free] = true;
    // What another text that was here has in common with this one need not be written again.
    const auto before = std::find_if(beams_.begin(), beams_.end(),
                                     [&](const Beam& beam) { return beam.row == free; });
    if (before == beams_.end()) continue;
    const auto begin = next[i].ids.begin() + static_cast<ptrdiff_t>(prompt_);
    const auto other = before->ids.begin() + static_cast<ptrdiff_t>(prompt_);
    next[i].common = static_cast<size_t>(
        std::mismatch(other, before->ids.end(), begin, next[i].ids.end() - 1).first - other);
  }
}

}  // namespace weft::run
