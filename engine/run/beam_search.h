#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/run/row_text.h"
#include "engine/run/sampling.h"

namespace weft::run {

/// The beam search of one prompt, as transformers' `generate` does it: it keeps the so many
/// likeliest texts that go on and the so many best that have ended.
///
/// Knows nothing of tensors: it is given logits and says which text goes on in which row. Not
/// thread-safe.
class BeamSearch {
 public:
  /// A text that goes on.
  struct Beam {
    std::vector<int64_t> ids;  // prompt and new tokens, without pads
    double score = 0;          // the sum of its log probabilities
    size_t row = 0;            // where it is computed, below num_beams
    /// The row that has the past which it goes on with. The first `common` of its new tokens are in
    /// `row`, too.
    size_t from = 0;
    size_t common = 0;
    std::shared_ptr<const RowText> text;  // where there are stop strings
  };
  /// A text that has ended.
  struct Found {
    std::vector<int64_t> ids;  // new tokens; none where `ended` is false
    double score = 0;
    bool ended = false;  // false: a place for which no text has been found
  };

  /// `chooser` must outlive it, and so must `decode`, which is null where no text is looked at.
  BeamSearch(const TokenChooser& chooser, const Decode* decode, std::vector<int64_t> prompt);

  /// Choose the next tokens: `logits` has `vocabulary` of them for each row (of the first step: for
  /// row 0 alone). kFailedPrecondition if they are NaN or no token can be chosen.
  absl::Status Step(absl::Span<const float> logits, size_t vocabulary);

  /// Nothing better is to come.
  bool done() const { return done_; }
  /// Those that go on, best first. Which row a text has changes only where it has to.
  const std::vector<Beam>& beams() const { return beams_; }
  /// What was found, best first.
  const std::vector<Found>& found() const { return found_; }

 private:
  struct Candidate {
    double score;
    size_t beam;  // in `beams_`
    int64_t token;
  };
  /// The best continuations of all that go on, best first: as many as transformers looks at.
  absl::Status FindCandidates(absl::Span<const float> logits, size_t vocabulary,
                              std::vector<Candidate>* best) const;
  /// Whether the continuation ends there; `text` is then that of it.
  absl::StatusOr<bool> Ends(const Candidate& candidate, std::shared_ptr<const RowText>* text) const;
  /// It ends with num_beams texts, and they are there.
  bool HasEnough() const;
  void Keep(std::vector<Found> ended);
  /// Give each beam its row: the first that goes on with a past stays where it is.
  void PlaceRows(std::vector<Beam>& next) const;

  const TokenChooser& chooser_;
  const size_t count_;   // num_beams
  const size_t prompt_;  // tokens of it
  std::vector<Beam> beams_;
  std::vector<Found> found_;
  size_t added_ = 0;  // new tokens of each that goes on
  bool may_improve_ = true;
  bool done_ = false;
};

}  // namespace weft::run
