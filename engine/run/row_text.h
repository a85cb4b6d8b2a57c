#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace weft::run {

/// Token ids to text.
using Decode = std::function<absl::StatusOr<std::string>(absl::Span<const int64_t>)>;

/// The text of a row while its tokens come: what can be shown of it, and whether it holds a text
/// that ends the row, also one that several tokens make.
///
/// A token is decoded with those before it, so that spaces are as in the whole text. What is not
/// yet a whole character is held back, and what may be the beginning of a stop string, or is one. A
/// stop string may begin in the prompt, as in transformers; its last character is a new one. Not
/// thread-safe.
class RowText {
 public:
  /// `prompt` is the row's; `decode` and `stops` must outlive it.
  RowText(const Decode& decode, absl::Span<const int64_t> prompt,
          const std::vector<std::string>& stops);

  /// Return what can be shown now that `id` has come.
  absl::StatusOr<std::string> Add(int64_t id);
  /// Return what was held back: no token comes any more.
  absl::StatusOr<std::string> Finish();
  /// A stop string has come; what follows its beginning is not shown.
  bool stopped() const { return stopped_; }

 private:
  /// The text of the tokens that have not been taken yet; empty if it is not whole (unless `all`).
  /// `whole` is then what of it is.
  absl::StatusOr<std::string> TakeText(bool all, std::string* whole);
  /// How much of `text` comes before the first of the stop strings, if one ends in it.
  std::optional<size_t> FindStop(const std::string& text) const;
  void KeepShown(const std::string& text);

  const Decode& decode_;
  const std::vector<std::string>& stops_;
  std::vector<int64_t> ids_;  // some that were taken, as context, and those that were not
  size_t taken_;              // how many of them were
  std::string held_;          // text that was not shown
  /// The end of the text before it, as far as a stop string may begin there.
  std::string shown_;
  size_t longest_stop_ = 0;
  bool begun_ = false;
  bool stopped_ = false;
};

}  // namespace weft::run
