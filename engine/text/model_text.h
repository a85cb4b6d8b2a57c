#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

namespace weft::text {

/// What a model does with text: what its folder holds beside configuration and weights.
struct ModelText {
  /// `tokenizer_path` is that of `tokenizer.json`; the others are TokenizerConfig's. A chat
  /// template that cannot be used is no error before a chat is given.
  static absl::StatusOr<ModelText> LoadModelText(const std::string& folder,
                                                 const std::string& tokenizer_path,
                                                 const std::string& model_type,
                                                 const std::string& tokenizer_class);

  std::shared_ptr<const Tokenizer> tokenizer;
  absl::StatusOr<std::shared_ptr<const ChatTemplate>> chat_template;
  std::optional<bool> pad_left;  // as in TokenizerConfig
  /// The id of the pad token, or where the model has none of the token that ends a text; -1 where
  /// it has neither.
  int64_t pad_id = -1;
};

}  // namespace weft::text
