#include "engine/run/row_text.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

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

/// `text` without what may become a character once more bytes come.
absl::string_view WithoutIncomplete(absl::string_view text) {
  while (absl::EndsWith(text, kReplacement)) text.remove_suffix(sizeof(kReplacement) - 1);
  return text;
}

}  // namespace

RowText::RowText(const Decode& decode, absl::Span<const int64_t> prompt,
                 const std::vector<std::string>& stops)
    : decode_(decode), stops_(stops) {
  for (const std::string& stop : stops) longest_stop_ = std::max(longest_stop_, stop.size());
  // A token has at least one byte, as a rule.
  const size_t context = std::min(prompt.size(), std::max(kContext, longest_stop_));
  const absl::Span<const int64_t> last = prompt.subspan(prompt.size() - context);
  ids_.assign(last.begin(), last.end());
  taken_ = ids_.size();
}

absl::StatusOr<std::string> RowText::TakeText(bool all, std::string* whole) {
  if (taken_ == ids_.size()) return std::string();
  const absl::Span<const int64_t> ids(ids_);
  absl::StatusOr<std::string> before = decode_(ids.subspan(0, taken_));
  if (!before.ok()) return before.status();
  absl::StatusOr<std::string> after = decode_(ids);
  if (!after.ok()) return after.status();
  if (!begun_) KeepShown(*before);
  begun_ = true;
  const size_t waiting = ids_.size() - taken_;
  const bool goes_on = absl::StartsWith(*after, *before);
  if (!all && absl::EndsWith(*after, kReplacement) && waiting < kLongestCharacter) {
    if (goes_on) {
      const absl::string_view rest = absl::string_view(*after).substr(before->size());
      *whole = std::string(WithoutIncomplete(rest));
    }
    return std::string();
  }
  std::string text;
  if (goes_on) {
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

void RowText::KeepShown(const std::string& text) {
  if (longest_stop_ == 0) return;
  shown_ += text;
  shown_.erase(0, shown_.size() - std::min(shown_.size(), longest_stop_ - 1));
}

std::optional<size_t> RowText::FindStop(const std::string& text) const {
  const std::string both = shown_ + text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    // It ends in `text`: what was there before ends nothing.
    const size_t from = shown_.size() - std::min(shown_.size(), stop.size() - 1);
    first = std::min(first, both.find(stop, from));
  }
  if (first == std::string::npos) return std::nullopt;
  return first - std::min(first, shown_.size());
}

absl::StatusOr<std::string> RowText::Add(int64_t id) {
  ids_.push_back(id);
  std::string whole;  // of what waits for the rest of a character
  absl::StatusOr<std::string> text = TakeText(/*all=*/false, &whole);
  if (!text.ok() || stops_.empty()) return text;
  held_ += *text;
  const std::string there = held_ + whole;
  if (const std::optional<size_t> stop = FindStop(there)) {
    stopped_ = true;
    held_.clear();
    return there.substr(0, *stop);
  }
  const size_t kept = std::min(held_.size(), BeginningOf(stops_, shown_ + held_));
  std::string out = held_.substr(0, held_.size() - kept);
  held_.erase(0, out.size());
  KeepShown(out);
  return out;
}

absl::StatusOr<std::string> RowText::Finish() {
  if (stopped_) return std::string();
  absl::StatusOr<std::string> text = TakeText(/*all=*/true, nullptr);
  if (!text.ok()) return text.status();
  return std::exchange(held_, "") + *text;
}

}  // namespace weft::run
