#include "engine/run/row_text.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace weft::run {
namespace {

/// Tokens that are decoded again as context.
constexpr size_t kContext = 6;
/// A character has at most 4 bytes, and a token at least one: more tokens than this that end amid a
/// character have made none.
constexpr size_t kLongestCharacter = 8;
constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD, for bytes that are no character

/// How much of the end of `text` may be the beginning of one of `stops`.
size_t BeginningOf(const std::vector<std::string>& stops, const std::string& text) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t size = std::min(text.size(), stop.size() - 1); size > longest; --size) {
      if (text.compare(text.size() - size, size, stop, 0, size) == 0) longest = size;
    }
  }
  return longest;
}

}  // namespace

RowText::RowText(const Decode& decode, absl::Span<const int64_t> prompt,
                 const std::vector<std::string>& stops)
    : decode_(decode), stops_(stops) {
  const absl::Span<const int64_t> last =
      prompt.subspan(prompt.size() - std::min(prompt.size(), kContext));
  ids_.assign(last.begin(), last.end());
  taken_ = ids_.size();
}

absl::StatusOr<std::string> RowText::TakeText(bool all) {
  if (taken_ == ids_.size()) return std::string();
  const absl::Span<const int64_t> ids(ids_);
  absl::StatusOr<std::string> before = decode_(ids.subspan(0, taken_));
  if (!before.ok()) return before.status();
  absl::StatusOr<std::string> after = decode_(ids);
  if (!after.ok()) return after.status();
  const size_t waiting = ids_.size() - taken_;
  if (!all && absl::EndsWith(*after, kReplacement) && waiting < kLongestCharacter) {
    return std::string();
  }
  std::string text;
  if (absl::StartsWith(*after, *before)) {
    text = after->substr(before->size());
  } else {
    // What was an incomplete character before is one now.
    absl::StatusOr<std::string> alone = decode_(ids.subspan(taken_));
    if (!alone.ok()) return alone.status();
    text = *std::move(alone);
  }
  const size_t dropped = ids_.size() - std::min(ids_.size(), kContext);
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<ptrdiff_t>(dropped));
  taken_ = ids_.size();
  return text;
}

absl::StatusOr<std::string> RowText::Add(int64_t id, bool may_stop) {
  ids_.push_back(id);
  absl::StatusOr<std::string> text = TakeText(/*all=*/false);
  if (!text.ok()) return text.status();
  held_ += *text;
  if (stops_.empty() || !may_stop) return std::exchange(held_, "");
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  stopped_ = first != std::string::npos;
  const size_t shown = stopped_ ? first : held_.size() - BeginningOf(stops_, held_);
  std::string out = held_.substr(0, shown);
  held_ = stopped_ ? "" : held_.substr(shown);
  return out;
}

absl::StatusOr<std::string> RowText::Finish() {
  if (stopped_) return std::string();
  absl::StatusOr<std::string> text = TakeText(/*all=*/true);
  if (!text.ok()) return text.status();
  return std::exchange(held_, "") + *text;
}

}  // namespace weft::run
