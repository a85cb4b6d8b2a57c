#include "engine/text/tokenizer.h"

#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/text/rust_bytes.h"
#include "engine/text/tokenizers_abi.h"
#include "engine/text/utf8.h"

namespace weft::text {
namespace {

std::string ToJson(const TokenizerOptions& options) {
  nlohmann::json json = {{"added_tokens", nlohmann::json::array()},
                         {"special_tokens", options.special_tokens},
                         {"metaspace", options.metaspace},
                         {"clean_up_spaces", options.clean_up_spaces}};
  for (const AddedToken& token : options.added_tokens) {
    json["added_tokens"].push_back({{"content", token.content},
                                    {"single_word", token.single_word},
                                    {"lstrip", token.lstrip},
                                    {"rstrip", token.rstrip},
                                    {"normalized", token.normalized},
                                    {"special", token.special}});
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::Status UnknownId(int64_t id, int64_t vocab_size) {
  return absl::InvalidArgumentError(
      absl::StrCat("token id ", id, " is not in the vocabulary of ", vocab_size, " tokens"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::LoadTokenizer(
    const std::string& path, const TokenizerOptions& options) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open the tokenizer ", path));
  std::ostringstream contents;
  contents << file.rdbuf();
  if (!file || !contents) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read the tokenizer ", path));
  }
  const std::string json = contents.str();
  const std::string changes = ToJson(options);

  RustBytes error;
  WeftTokenizer* handle = nullptr;
  if (!weft_tokenizer_new(RustData(json), json.size(), RustData(changes), changes.size(), &handle,
                          error.out())) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a tokenizer that can be loaded: ", error.view()));
  }
  absl::Cleanup free_handle = [handle] { weft_tokenizer_free(handle); };

  RustBytes size;
  if (!weft_tokenizer_vocab_size(handle, size.out())) {
    return absl::InvalidArgumentError(absl::StrCat(path, " has no vocabulary: ", size.view()));
  }
  uint64_t vocab_size = 0;
  std::memcpy(&vocab_size, size.view().data(), sizeof(vocab_size));
  std::move(free_handle).Cancel();
  return std::shared_ptr<const Tokenizer>(new Tokenizer(handle, static_cast<int64_t>(vocab_size)));
}

Tokenizer::Tokenizer(WeftTokenizer* handle, int64_t vocab_size)
    : handle_(handle), vocab_size_(vocab_size) {}

Tokenizer::~Tokenizer() { weft_tokenizer_free(handle_); }

absl::StatusOr<std::vector<int64_t>> Tokenizer::Encode(const std::string& text,
                                                       bool add_special_tokens) const {
  if (const std::optional<size_t> at = FindInvalidUtf8(text); at.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("the text is not UTF-8 at byte ", *at));
  }
  RustBytes out;
  if (!weft_tokenizer_encode(handle_, RustData(text), text.size(), add_special_tokens, out.out())) {
    return absl::InternalError(absl::StrCat("the text cannot be tokenized: ", out.view()));
  }
  std::vector<uint32_t> ids(out.view().size() / sizeof(uint32_t));
  if (!ids.empty()) std::memcpy(ids.data(), out.view().data(), out.view().size());
  return std::vector<int64_t>(ids.begin(), ids.end());
}

absl::StatusOr<std::string> Tokenizer::Decode(absl::Span<const int64_t> ids,
                                              bool skip_special_tokens) const {
  std::vector<uint32_t> narrow;
  narrow.reserve(ids.size());
  for (const int64_t id : ids) {
    if (!HasId(id)) {
      return absl::InvalidArgumentError(absl::StrCat(UnknownId(id, vocab_size_).message(),
                                                     " (position ", narrow.size(), " of ",
                                                     ids.size(), ")"));
    }
    narrow.push_back(static_cast<uint32_t>(id));
  }
  RustBytes out;
  if (!weft_tokenizer_decode(handle_, narrow.data(), narrow.size(), skip_special_tokens,
                             out.out())) {
    return absl::InternalError(absl::StrCat("the ids cannot be decoded: ", out.view()));
  }
  return std::string(out.view());
}

std::optional<int64_t> Tokenizer::TokenToId(const std::string& token) const {
  RustBytes out;
  if (!weft_tokenizer_token_to_id(handle_, RustData(token), token.size(), out.out())) {
    return std::nullopt;
  }
  if (out.view().size() != sizeof(uint32_t)) return std::nullopt;
  uint32_t id = 0;
  std::memcpy(&id, out.view().data(), sizeof(id));
  return id;
}

absl::StatusOr<std::string> Tokenizer::IdToToken(int64_t id) const {
  RustBytes out;
  if (id < 0 || id > std::numeric_limits<uint32_t>::max() ||
      !weft_tokenizer_id_to_token(handle_, static_cast<uint32_t>(id), out.out())) {
    return UnknownId(id, vocab_size_);
  }
  return std::string(out.view());
}

bool Tokenizer::HasId(int64_t id) const { return IdToToken(id).ok(); }

}  // namespace weft::text
