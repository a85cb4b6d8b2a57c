#include "engine/text/chat_template.h"

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/text/rust_bytes.h"
#include "engine/text/tokenizer_config.h"
#include "engine/text/tokenizers_abi.h"
#include "engine/text/utf8.h"

namespace weft::text {

absl::StatusOr<std::shared_ptr<const ChatTemplate>> ChatTemplate::ParseChatTemplate(
    const std::string& source, std::vector<std::pair<std::string, std::string>> variables) {
  RustBytes error;
  WeftChatTemplate* handle = nullptr;
  if (!weft_chat_template_new(RustData(source), source.size(), &handle, error.out())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the chat template cannot be used: ", error.view()));
  }
  return std::shared_ptr<const ChatTemplate>(new ChatTemplate(handle, std::move(variables)));
}

absl::StatusOr<std::shared_ptr<const ChatTemplate>> ChatTemplate::FindChatTemplate(
    const TokenizerConfig& config) {
  if (config.chat_templates.empty()) {
    return absl::FailedPreconditionError("this model has no chat template");
  }
  const auto found = config.chat_templates.find(TokenizerConfig::kDefaultTemplate);
  if (found == config.chat_templates.end()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "none of this model's chat templates is called `default`: ",
        absl::StrJoin(config.chat_templates, ", ", [](std::string* out, const auto& named) {
          absl::StrAppend(out, "`", named.first, "`");
        })));
  }
  return ParseChatTemplate(found->second, config.special_tokens);
}

ChatTemplate::~ChatTemplate() { weft_chat_template_free(handle_); }

absl::StatusOr<std::string> ChatTemplate::Render(absl::Span<const ChatMessage> messages,
                                                 const ChatOptions& options) const {
  nlohmann::json request = {{"messages", nlohmann::json::array()},
                            {"add_generation_prompt", options.add_generation_prompt},
                            {"continue_final_message", options.continue_final_message},
                            {"variables", variables_},
                            {"now", absl::ToUnixSeconds(options.now)},
                            {"max_bytes", options.max_bytes}};
  for (const ChatMessage& message : messages) {
    for (const std::string* text : {&message.role, &message.content}) {
      if (const std::optional<size_t> at = FindInvalidUtf8(*text); at.has_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat("message ", request["messages"].size(), " is not UTF-8 at byte ", *at));
      }
    }
    request["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  // The variables come from a file, which was JSON itself.
  const std::string json = request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  RustBytes out;
  if (!weft_chat_template_render(handle_, RustData(json), json.size(), out.out())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the chat template does not take these messages: ", out.view()));
  }
  return std::string(out.view());
}

}  // namespace weft::text
