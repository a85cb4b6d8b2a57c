#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

struct WeftTokenizer;

namespace weft::text {

/// A token that is found in a text before anything else is done with it.
struct AddedToken {
  std::string content;
  bool single_word = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

/// What transformers makes different from `tokenizer.json` (TokenizerConfig reads it).
struct TokenizerOptions {
  /// They replace those of the file that have their contents.
  std::vector<AddedToken> added_tokens;
  /// Added, and special, where the file has no such added token.
  std::vector<std::string> special_tokens;
  /// Of transformers' class LlamaTokenizer, which puts its own in place of the file's normalizer
  /// and pre-tokenizer: before which texts a space comes, `first`, `always` or `never`. Empty: the
  /// file as it is. Files with byte-level BPE are left as they are.
  std::string metaspace;
  /// Take the spaces before punctuation out of decoded texts, as WordPiece's decoders wish.
  bool clean_up_spaces = false;
};

/// A model's tokenizer: Hugging Face's `tokenizers` behind a C ABI.
///
/// Ids are those of Python's `tokenizers` for the same `tokenizer.json`, and with a model's options
/// those of transformers. Truncation and padding saved in the file are ignored, as in transformers:
/// the caller decides on both. Thread-safe.
class Tokenizer {
 public:
  /// Load a `tokenizer.json`. kNotFound if there is no such file, kInvalidArgument if it is not a
  /// tokenizer; both name the file.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadTokenizer(
      const std::string& path, const TokenizerOptions& options = {});

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer();

  /// Return the ids of `text`, with the tokens that the tokenizer's post-processor adds around it
  /// if `add_special_tokens`. kInvalidArgument if `text` is not UTF-8.
  absl::StatusOr<std::vector<int64_t>> Encode(const std::string& text,
                                              bool add_special_tokens = true) const;

  /// Return the text of `ids`. kInvalidArgument, with the id and its position, if one of them is
  /// not in the vocabulary. Bytes that are not UTF-8 come back as U+FFFD.
  absl::StatusOr<std::string> Decode(absl::Span<const int64_t> ids,
                                     bool skip_special_tokens = false) const;

  /// Return the id of `token` as the vocabulary spells it ("Ġthe"), if it has one.
  std::optional<int64_t> TokenToId(const std::string& token) const;

  /// Return the vocabulary's spelling of `id`. kInvalidArgument if there is none.
  absl::StatusOr<std::string> IdToToken(int64_t id) const;

  /// Return the number of tokens, added ones included.
  int64_t vocab_size() const { return vocab_size_; }

 private:
  Tokenizer(WeftTokenizer* handle, int64_t vocab_size);

  bool HasId(int64_t id) const;

  WeftTokenizer* const handle_;
  const int64_t vocab_size_;
};

}  // namespace weft::text
