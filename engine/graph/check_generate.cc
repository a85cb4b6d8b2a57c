#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/graph/checker.h"

namespace weft::graph {
namespace {

/// New tokens of one generation, at most.
constexpr uint32_t kMaxNewTokens = 1 << 20;
constexpr uint32_t kMaxSequences = 1024;
constexpr uint32_t kMaxBeams = 256;
constexpr double kMaxLengthPenalty = 16;
// A beam search looks at so many times more continuations.
constexpr size_t kMaxBeamEnds = 16;
// Each place in a row is compared with its end.
constexpr uint32_t kMaxNgram = 64;
// Each new token is compared with all of them.
constexpr size_t kMaxStopStrings = 16;
constexpr size_t kMaxStopStringBytes = 256;

}  // namespace

bool Checker::CheckGenerate(const GenerateOptions& options) {
  if (options.max_new_tokens == 0 || options.max_new_tokens > kMaxNewTokens) {
    return Fail(absl::StrCat("max_new_tokens is from 1 to ", kMaxNewTokens, ", not ",
                             options.max_new_tokens));
  }
  if (options.min_new_tokens > options.max_new_tokens) {
    return Fail(absl::StrCat("min_new_tokens is ", options.min_new_tokens, ", more than the ",
                             options.max_new_tokens, " of max_new_tokens"),
                "raise max_new_tokens");
  }
  if (!CheckSampling(options)) return false;
  if (options.num_return_sequences > kMaxSequences) {
    return Fail(absl::StrCat("num_return_sequences is at most ", kMaxSequences, ", not ",
                             options.num_return_sequences));
  }
  if (options.num_return_sequences > 1 && !options.Samples() && !options.Searches()) {
    return Fail(absl::StrCat("num_return_sequences is ", options.num_return_sequences,
                             ", and without sampling all of them would be the same"),
                "set do_sample or a temperature above 0, or num_beams");
  }
  return CheckBeams(options) && CheckEnds(options);
}

bool Checker::CheckBeams(const GenerateOptions& options) {
  if (options.early_stopping > EarlyStopping::kNever) {
    return Fail(absl::StrCat("early_stopping is ", static_cast<int>(options.early_stopping),
                             ", which is none of false, true and never"));
  }
  if (!options.Searches()) {
    const bool early = options.early_stopping != EarlyStopping::kNoneBetter;
    if (!early && !options.length_penalty) return true;
    return Fail(absl::StrCat(early ? "early_stopping" : "length_penalty", " is for a beam search"),
                "set num_beams to more than 1, or leave it out");
  }
  if (options.num_beams > kMaxBeams) {
    return Fail(absl::StrCat("num_beams is at most ", kMaxBeams, ", not ", options.num_beams));
  }
  if (options.Samples()) {
    return Fail(
        "a beam search takes the likeliest: do_sample, temperature, top_k, top_p and min_p are not "
        "for it",
        "leave them out to search, or num_beams to draw");
  }
  if (options.num_return_sequences > options.num_beams) {
    return Fail(absl::StrCat("num_return_sequences is ", options.num_return_sequences,
                             ", more than the ", options.num_beams, " of num_beams"),
                "raise num_beams");
  }
  // Written so that NaN does not fit.
  if (options.length_penalty && !(std::abs(*options.length_penalty) <= kMaxLengthPenalty)) {
    return Fail(absl::StrCat("length_penalty is from ", -kMaxLengthPenalty, " to ",
                             kMaxLengthPenalty, ", not ", *options.length_penalty),
                "above 0 it favours long texts, below 0 short ones");
  }
  return options.eos_token_ids.size() <= kMaxBeamEnds ||
         Fail(absl::StrCat("a beam search has at most ", kMaxBeamEnds, " eos_token_ids, not ",
                           options.eos_token_ids.size()));
}

bool Checker::CheckInSearch() {
  if (frames_.empty() || !Is<Trace>(frames_[0].id)) return true;
  const auto& generate = std::get<Trace>(program_.at(frames_[0].id).kind).generate;
  const bool searches = generate != nullptr && generate->Searches();
  const auto* read = std::get_if<Read>(&node_->kind);
  if (!searches) {
    if (read == nullptr || read->site.point != Point::kBeamScores) return true;
    return Fail("`beam_scores` are of a beam search, and this trace is none",
                "begin it with `generate num_beams=N`, N above 1");
  }
  const bool found = read != nullptr &&
                     (read->site.point == Point::kResult || read->site.point == Point::kBeamScores);
  const bool inside =
      read != nullptr || std::holds_alternative<Write>(node_->kind) ||
      std::holds_alternative<Skip>(node_->kind) || std::holds_alternative<Cache>(node_->kind) ||
      std::holds_alternative<Call>(node_->kind) || std::holds_alternative<Steps>(node_->kind);
  if (found || !inside) return true;
  return Fail(
      "this trace is a beam search (num_beams), which shows `result` and `beam_scores` alone: its "
      "rows change places from step to step",
      "leave out num_beams, or trace the ids that the search has found");
}

bool Checker::CheckSampling(const GenerateOptions& options) {
  // Written so that NaN fits none of them.
  const auto at_least_0 = [](double value) { return value >= 0 && std::isfinite(value); };
  if (!at_least_0(options.temperature)) {
    return Fail(absl::StrCat("temperature is 0 or more, not ", options.temperature),
                "0 takes the likeliest token, 1 draws from the model's own distribution, and less "
                "than 1 from a sharper one");
  }
  const std::pair<const char*, double> probabilities[] = {{"top_p", options.top_p},
                                                          {"min_p", options.min_p}};
  for (const auto& [name, value] : probabilities) {
    if (value >= 0 && value <= 1) continue;
    return Fail(absl::StrCat(name, " is a probability above 0 and at most 1, not ", value),
                absl::StrCat("leave ", name, " out to keep all tokens"));
  }
  if (!at_least_0(options.repetition_penalty)) {
    return Fail(
        absl::StrCat("repetition_penalty is above 0, not ", options.repetition_penalty),
        "1 or none changes nothing, and more than 1 makes tokens that were there less likely");
  }
  if (options.no_repeat_ngram_size > kMaxNgram) {
    return Fail(absl::StrCat("no_repeat_ngram_size is at most ", kMaxNgram, ", not ",
                             options.no_repeat_ngram_size));
  }
  const std::pair<const char*, double> penalties[] = {
      {"presence_penalty", options.presence_penalty},
      {"frequency_penalty", options.frequency_penalty}};
  for (const auto& [name, value] : penalties) {
    if (value >= -2 && value <= 2) continue;
    return Fail(absl::StrCat(name, " is from -2 to 2, not ", value),
                "more than 0 makes tokens that were chosen before less likely");
  }
  return true;
}

bool Checker::CheckEnds(const GenerateOptions& options) {
  if (!CheckCount(options.eos_token_ids.size(), "eos_token_ids")) return false;
  for (int64_t token : options.eos_token_ids) {
    if (token < 0) {
      return Fail(absl::StrCat("eos_token_ids holds ", token, ", which is no token"),
                  "leave eos_token_ids out for the model's own");
    }
  }
  if (options.stop_strings.size() > kMaxStopStrings) {
    return Fail(absl::StrCat("there are ", options.stop_strings.size(), " stop_strings; at most ",
                             kMaxStopStrings, " are allowed"),
                "name tokens in eos_token_ids");
  }
  for (const std::string& text : options.stop_strings) {
    if (text.empty()) {
      return Fail("a text of stop_strings is empty, and would end every row at once",
                  "leave it out");
    }
    if (text.size() > kMaxStopStringBytes) {
      return Fail(absl::StrCat("a text of stop_strings has ", text.size(), " bytes; at most ",
                               kMaxStopStringBytes, " are allowed"),
                  "shorten it");
    }
    if (!CheckText(text, "a stop string")) return false;
  }
  return true;
}

}  // namespace weft::graph
