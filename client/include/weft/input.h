#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "weft/param.h"
#include "weft/tensor.h"
#include "weft/var.h"

namespace weft {

struct ChatMessage {
  std::string role;  // `user`, `assistant`, `system`
  std::string content;
};

/// A conversation, put into the model's chat template by the server: `Chat{{"user", "Hello"}}`.
struct Chat {
  Chat(std::initializer_list<ChatMessage> messages) : messages(messages) {}
  explicit Chat(std::vector<ChatMessage> messages) : messages(std::move(messages)) {}

  std::vector<ChatMessage> messages;
};

/// How a chat ends.
enum class ChatEnd {
  /// Open where the last message is the assistant's, else with the prompt: as in transformers.
  kAuto,
  kPrompt,  // with what makes the model answer
  kOpen,    // with the last message, which the model goes on with
  kClosed,  // with the last message
};

/// Tensors by the names of the arguments that the trace's root takes; an empty name is the next
/// argument by position: `Inputs{{"", hidden}, {"mask", mask}}`. A value of an earlier trace of a
/// session may stand for a tensor.
struct Inputs {
  Inputs(std::initializer_list<std::pair<std::string, Arg>> tensors) : tensors(tensors) {}
  explicit Inputs(std::vector<std::pair<std::string, Arg>> tensors) : tensors(std::move(tensors)) {}

  std::vector<std::pair<std::string, Arg>> tensors;
};

/// The input of an invoke: a prompt, several prompts (padded by the server), rows of token ids, a
/// chat or several, tensors, or what a sweep runs over. Invokes of one trace may mix them.
class Input {
 public:
  using Texts = std::vector<std::string>;
  using Rows = std::vector<std::vector<int64_t>>;
  using Chats = std::vector<Chat>;
  using Variant = std::variant<Texts, Rows, Tensor, Chats, Inputs, Param>;

  Input(const char* prompt) : value_(Texts{prompt}) {}             // NOLINT: inputs are
  Input(std::string prompt) : value_(Texts{std::move(prompt)}) {}  // NOLINT: written as
  Input(Texts prompts) : value_(std::move(prompts)) {}             // NOLINT: they are
  Input(std::initializer_list<std::string_view> prompts)           // NOLINT
      : value_(Texts(prompts.begin(), prompts.end())) {}
  Input(std::initializer_list<int64_t> ids) : value_(Rows{ids}) {}                 // NOLINT
  Input(std::vector<int64_t> ids) : value_(Rows{std::move(ids)}) {}                // NOLINT
  Input(std::initializer_list<std::vector<int64_t>> rows) : value_(Rows(rows)) {}  // NOLINT
  Input(Rows rows) : value_(std::move(rows)) {}                                    // NOLINT
  /// Of a language model: token ids, a row or rows of them. Of another root: its first argument.
  Input(Tensor tensor) : value_(std::move(tensor)) {}   // NOLINT
  Input(Chat chat) : value_(Chats{std::move(chat)}) {}  // NOLINT
  Input(Chats chats) : value_(std::move(chats)) {}      // NOLINT
  Input(Inputs inputs) : value_(std::move(inputs)) {}   // NOLINT
  /// At each point of a sweep over prompts, or rows of ids, that one.
  Input(Param prompt) : value_(std::move(prompt)) {}  // NOLINT

  /// The same prompts without the tokenizer's special tokens, such as one that begins a text.
  Input without_special_tokens() const {
    Input input = *this;
    input.special_tokens_ = false;
    return input;
  }

  /// The same chats with another end. It is one for all: several of which some end with the
  /// assistant need it.
  Input ending(ChatEnd end) const {
    Input input = *this;
    input.chat_end_ = end;
    return input;
  }

  const Variant& value() const { return value_; }
  bool special_tokens() const { return special_tokens_; }
  ChatEnd chat_end() const { return chat_end_; }

 private:
  Variant value_;
  bool special_tokens_ = true;
  ChatEnd chat_end_ = ChatEnd::kAuto;
};

}  // namespace weft
