#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

struct WeftChatTemplate;

namespace weft::text {

struct TokenizerConfig;

struct ChatMessage {
  std::string role;  // `user`, `assistant`, `system`
  std::string content;
};

struct ChatOptions {
  /// End with what begins an answer.
  bool add_generation_prompt = false;
  /// End with the last message, which the model goes on with. Not with the above.
  bool continue_final_message = false;
  /// More than these is an error.
  size_t max_bytes = size_t{16} << 20;
  /// What a template calls now.
  absl::Time now = absl::Now();
};

/// A model's chat template: Jinja as transformers' `apply_chat_template` runs it, on `minijinja`
/// behind a C ABI.
///
/// What a rendering may take is bounded: instructions, characters that it makes, recursion, output.
/// The one thing that is not counted is a list that a template itself adds to itself, over and
/// over: no message can make it do so. Thread-safe.
class ChatTemplate {
 public:
  /// `variables` are set in it: special tokens by their names. kInvalidArgument with the line.
  static absl::StatusOr<std::shared_ptr<const ChatTemplate>> ParseChatTemplate(
      const std::string& source, std::vector<std::pair<std::string, std::string>> variables);
  /// The one that transformers would take for a model. kFailedPrecondition, with the way out, where
  /// there is none, or none of several is the default.
  static absl::StatusOr<std::shared_ptr<const ChatTemplate>> FindChatTemplate(
      const TokenizerConfig& config);

  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;
  ~ChatTemplate();

  /// Return the text of a chat, which holds the special tokens that the model expects.
  /// kInvalidArgument if the template refuses the messages (roles that do not alternate, say),
  /// fails or is too much work, or if they are not UTF-8.
  absl::StatusOr<std::string> Render(absl::Span<const ChatMessage> messages,
                                     const ChatOptions& options = {}) const;

 private:
  ChatTemplate(WeftChatTemplate* handle, std::vector<std::pair<std::string, std::string>> variables)
      : handle_(handle), variables_(std::move(variables)) {}

  WeftChatTemplate* const handle_;
  const std::vector<std::pair<std::string, std::string>> variables_;
};

}  // namespace weft::text
