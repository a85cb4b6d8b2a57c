#include "engine/text/model_text.h"

#include <utility>

#include "engine/text/tokenizer_config.h"

namespace weft::text {

absl::StatusOr<ModelText> ModelText::LoadModelText(const std::string& folder,
                                                   const std::string& tokenizer_path,
                                                   const std::string& model_type,
                                                   const std::string& tokenizer_class) {
  absl::StatusOr<TokenizerConfig> config =
      TokenizerConfig::LoadTokenizerConfig(folder, model_type, tokenizer_class);
  if (!config.ok()) return config.status();
  absl::StatusOr<std::shared_ptr<const Tokenizer>> tokenizer =
      Tokenizer::LoadTokenizer(tokenizer_path, config->options);
  if (!tokenizer.ok()) return tokenizer.status();
  ModelText text{*std::move(tokenizer), ChatTemplate::FindChatTemplate(*config), config->pad_left};
  for (const char* name : {"pad_token", "eos_token"}) {
    const std::string* const token = config->FindSpecialToken(name);
    if (token == nullptr) continue;
    text.pad_id = text.tokenizer->TokenToId(*token).value_or(-1);
    if (text.pad_id >= 0) break;
  }
  return text;
}

}  // namespace weft::text
