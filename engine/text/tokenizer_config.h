#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer.h"

namespace weft::text {

/// What a model's folder says of its tokenizer beside `tokenizer.json`, read as transformers 5.x
/// reads it: `tokenizer_config.json`, `special_tokens_map.json`, and the chat templates there or in
/// `chat_template.jinja`, `chat_templates/NAME.jinja`, `chat_template.json`. All are optional.
///
/// `add_bos_token` and `add_eos_token` mean nothing beside a `tokenizer.json`: its post-processor
/// alone decides.
struct TokenizerConfig {
  static constexpr char kDefaultTemplate[] = "default";

  /// `model_type` and `tokenizer_class` are those of `config.json`, the latter may be empty: with
  /// what the folder names they decide on the class that transformers would take, and it on what is
  /// not said. kInvalidArgument, naming the file, for what cannot be understood.
  static absl::StatusOr<TokenizerConfig> LoadTokenizerConfig(
      const std::string& folder, const std::string& model_type,
      const std::string& tokenizer_class = "");

  /// Of `bos_token`, `eos_token`, `unk_token`, `sep_token`, `pad_token`, `cls_token`, `mask_token`
  /// those that the model has, in this order.
  std::vector<std::pair<std::string, std::string>> special_tokens;
  /// On which side prompts are padded; nothing where neither the folder nor its class of tokenizer
  /// says.
  std::optional<bool> pad_left;
  TokenizerOptions options;
  std::map<std::string, std::string> chat_templates;  // by name

  /// The special token of this name, or nullptr.
  const std::string* FindSpecialToken(const std::string& name) const;
};

}  // namespace weft::text
