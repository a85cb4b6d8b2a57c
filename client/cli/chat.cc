#include "client/cli/chat.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/generate.h"
#include "client/cli/running.h"
#include "weft/client.h"

namespace weft::cli {
namespace {

using Messages = std::vector<graph::ChatMessage>;

/// One answer as it comes. The last token's text is held back, since it may be a special token,
/// which is no part of what was said.
class Answer {
 public:
  void Take(const event::NewTokens& tokens) {
    if (tokens.ids.empty() || tokens.ids[0] < 0) return;
    ids_.push_back(tokens.ids[0]);
    Print(std::exchange(held_, tokens.texts.empty() ? "" : tokens.texts[0]));
  }

  /// Print what is left, and return the whole.
  absl::StatusOr<std::string> Finish(Backend& backend, const std::string& model) {
    if (!held_.empty()) {
      std::vector<int64_t> before(ids_.begin(), ids_.end() - 1);
      absl::StatusOr<std::vector<std::string>> texts =
          backend.Detokenize(model, {ids_, std::move(before)}, /*skip_special_tokens=*/true);
      if (!texts.ok()) return texts.status();
      const bool special = texts->size() == 2 && (*texts)[0] == (*texts)[1];
      if (!special) Print(held_);
    }
    if (!absl::EndsWith(printed_, "\n")) std::cout << "\n";
    std::cout << std::flush;
    return printed_;
  }

 private:
  void Print(const std::string& text) {
    std::cout << text << std::flush;
    printed_ += text;
  }

  std::vector<int64_t> ids_;
  std::string printed_, held_;
};

absl::StatusOr<Program> MakeProgram(GenerateOptions options, const std::string& adapter,
                                    uint32_t max_new_tokens, const Messages& messages) {
  options.max_new_tokens = max_new_tokens;
  graph::Invoke invoke;
  graph::ChatInput chat;
  chat.chats = {messages};
  chat.add_generation_prompt = true;
  invoke.input = std::move(chat);
  absl::StatusOr<graph::Program> program = MakeGeneration(options, adapter, std::move(invoke));
  if (!program.ok()) return program.status();
  return Program(*std::move(program));
}

/// As many new tokens as were asked for, or as there is room for behind what was said.
absl::StatusOr<uint32_t> NewTokens(Backend& backend, const ChatArguments& arguments,
                                   const RunSettings& settings, const Messages& messages) {
  if (arguments.options.max_new_tokens > 0) return arguments.options.max_new_tokens;
  absl::StatusOr<ModelDescription> description = backend.GetModel(arguments.model);
  if (!description.ok()) return description.status();
  GenerateOptions options = arguments.options;
  options.min_new_tokens = 0;
  absl::StatusOr<Program> program = MakeProgram(options, arguments.adapter, 1, messages);
  if (!program.ok()) return program.status();
  // Of one new token the cost is that of the prompt.
  absl::StatusOr<ValidationReport> report = backend.Validate(arguments.model, *program, settings);
  if (!report.ok()) return report.status();
  const uint64_t room = description->summary.max_tokens + 1;
  const uint64_t used = report->estimate.tokens;
  const uint64_t left = room > used ? room - used : 1;
  return static_cast<uint32_t>(std::min<uint64_t>(left, ChatArguments::kNewTokens));
}

/// The next message; nothing at the end of the input.
std::optional<std::string> ReadMessage(bool terminal) {
  std::string message, line;
  if (terminal) std::cerr << "> " << std::flush;
  while (std::getline(std::cin, line)) {
    if (!absl::EndsWith(line, "\\")) return message + line;
    line.back() = '\n';
    message += line;
    if (terminal) std::cerr << "  " << std::flush;
  }
  if (message.empty()) return std::nullopt;
  return message;
}

/// What the model says to `messages`; of an interrupted answer what there is of it.
absl::StatusOr<std::string> Say(Backend& backend, const ChatArguments& arguments,
                                const Messages& messages) {
  Cancellation cancellation;
  InterruptScope interrupt(cancellation);
  RunSettings settings;
  settings.edits = arguments.edits;
  absl::StatusOr<uint32_t> length = NewTokens(backend, arguments, settings, messages);
  if (!length.ok()) return length.status();
  absl::StatusOr<Program> program =
      MakeProgram(arguments.options, arguments.adapter, *length, messages);
  if (!program.ok()) return program.status();
  settings.cancellation = cancellation;
  settings.stream_tokens = true;
  settings.seed = arguments.seed ? *arguments.seed : std::random_device()();
  Answer answer;
  const absl::Status status = backend.Run(arguments.model, *program, settings, [&](RunEvent event) {
    if (auto* begin = std::get_if<event::Accepted>(&event)) {
      PrintWarnings(begin->warnings);
    } else if (auto* waiting = std::get_if<event::Waiting>(&event)) {
      SayWaiting(*waiting);
    } else if (auto* tokens = std::get_if<event::NewTokens>(&event)) {
      answer.Take(*tokens);
    }
  });
  if (!status.ok() && status.code() != absl::StatusCode::kCancelled) return status;
  return answer.Finish(backend, arguments.model);
}

absl::StatusOr<std::shared_ptr<Backend>> Open(const GlobalOptions& global,
                                              const std::string& model) {
  // Threads that are made here leave signals to others.
  InterruptScope interrupt{Cancellation()};
  return OpenBackend(global, model);
}

}  // namespace

int HoldChat(const GlobalOptions& global, const ChatArguments& arguments) {
  absl::StatusOr<std::shared_ptr<Backend>> backend = Open(global, arguments.model);
  if (!backend.ok()) return Report(backend.status());
  const bool terminal = isatty(STDIN_FILENO) != 0;
  Messages messages;
  const auto begin = [&] {
    messages.clear();
    if (!arguments.system.empty()) messages.push_back({"system", arguments.system});
  };
  begin();
  while (std::optional<std::string> said = ReadMessage(terminal)) {
    if (*said == "/quit") break;
    if (*said == "/new") begin();
    if (said->empty() || *said == "/new") continue;
    messages.push_back({"user", *std::move(said)});
    absl::StatusOr<std::string> answer = Say(**backend, arguments, messages);
    if (!answer.ok()) return Report(answer.status());
    messages.push_back({"assistant", *std::move(answer)});
  }
  return kOk;
}

}  // namespace weft::cli
