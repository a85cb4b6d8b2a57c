#include "client/cli/generate.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/results.h"
#include "client/cli/running.h"
#include "client/src/convert.h"
#include "client/src/result_collector.h"
#include "engine/graph/edits.h"
#include "engine/graph/lint.h"
#include "weft/client.h"

namespace weft::cli {
namespace {

using nlohmann::json;

/// The save that holds the ids.
constexpr char kIds[] = "result";
/// And the one of what they are worth, in a beam search.
constexpr char kScores[] = "beam_scores";

/// A generation from `prompt`, and what `text`, from the file of `arguments`, does in it.
absl::StatusOr<Program> MakeProgram(const GenerateArguments& arguments, const std::string& prompt,
                                    const std::string& text) {
  graph::Invoke invoke;
  invoke.input = graph::Invoke::Prompts{{prompt}, arguments.no_special_tokens};
  absl::StatusOr<graph::Program> program =
      MakeGeneration(arguments.options, arguments.adapter, std::move(invoke));
  if (!program.ok()) return program.status();
  if (arguments.program.empty()) return Program(*std::move(program));
  const std::string file = arguments.program == "-" ? "<stdin>" : arguments.program;
  absl::StatusOr<Program> edit = Program::Parse(text, file);
  if (!edit.ok()) return edit.status();
  absl::StatusOr<graph::Program> edited =
      graph::ApplyEdits(*program, {graph::Edit{file, &edit->graph()}});
  if (!edited.ok()) return edited.status();
  return Program(*std::move(edited));
}

/// As many new tokens as were asked for, or as there is room for.
absl::StatusOr<uint32_t> NewTokens(Backend& backend, const GenerateArguments& arguments,
                                   const std::string& model, const std::string& prompt) {
  if (arguments.options.max_new_tokens > 0) return arguments.options.max_new_tokens;
  absl::StatusOr<ModelDescription> description = backend.GetModel(model);
  if (!description.ok()) return description.status();
  absl::StatusOr<std::vector<std::vector<int64_t>>> ids = backend.Tokenize(model, {prompt});
  if (!ids.ok()) return ids.status();
  const uint64_t used = ids->empty() ? 0 : (*ids)[0].size();
  const uint64_t room = description->summary.max_tokens + 1;
  const uint64_t left = room > used ? room - used : 1;
  return static_cast<uint32_t>(std::min<uint64_t>(left, GenerateArguments::kNewTokens));
}

/// Takes the tokens as they come. What belongs to one sequence is printed at once; of several each
/// is printed when all are done.
class Writer {
 public:
  Writer(bool streams, std::string prompt) : streams_(streams), text_end_(std::move(prompt)) {
    if (streams_) std::cout << text_end_ << std::flush;
  }

  void Take(const event::NewTokens& tokens) {
    texts_.resize(std::max(texts_.size(), tokens.ids.size()));
    ids_.resize(texts_.size());
    for (size_t row = 0; row < tokens.ids.size(); ++row) {
      if (tokens.ids[row] < 0) continue;
      ids_[row].push_back(tokens.ids[row]);
      // Of a model without a tokenizer the ids.
      std::string more =
          row < tokens.texts.size() ? tokens.texts[row] : absl::StrCat(tokens.ids[row], " ");
      if (streams_ && tokens.ids.size() == 1) std::cout << more << std::flush;
      texts_[row] += more;
    }
  }

  /// What was not printed as it came.
  void Finish(const std::string& prompt) const {
    if (!streams_) return;
    if (texts_.size() < 2) {
      const std::string& last = texts_.empty() || texts_[0].empty() ? text_end_ : texts_[0];
      if (!last.empty() && last.back() != '\n') std::cout << "\n";
      return;
    }
    for (size_t row = 0; row < texts_.size(); ++row) {
      std::cout << "== " << row + 1 << " of " << texts_.size() << "\n" << prompt << texts_[row];
      if (texts_[row].empty() || texts_[row].back() != '\n') std::cout << "\n";
    }
  }

  json ToJson() const {
    json sequences = json::array();
    for (size_t row = 0; row < texts_.size(); ++row) {
      sequences.push_back({{"text", texts_[row]}, {"ids", ids_[row]}});
    }
    return sequences;
  }

 private:
  const bool streams_;
  const std::string text_end_;  // of what was printed before the first token
  std::vector<std::string> texts_;
  std::vector<std::vector<int64_t>> ids_;
};

}  // namespace

absl::StatusOr<graph::Program> MakeGeneration(const GenerateOptions& options,
                                              const std::string& adapter, graph::Invoke invoke) {
  graph::Program program;
  const auto add = [&program](decltype(graph::Node::kind) kind, graph::NodeId parent) {
    graph::Node& node = program.nodes.emplace_back();
    node.kind = std::move(kind);
    node.parent = parent;
    return static_cast<graph::NodeId>(program.nodes.size());
  };
  graph::Trace trace;
  trace.adapter = adapter;
  trace.generate = std::make_shared<const graph::GenerateOptions>(internal::ToGraph(options));
  const graph::NodeId rows = add(std::move(invoke), add(std::move(trace), graph::kNoNode));
  const graph::NodeId ids = add(graph::Read{{.point = graph::Point::kResult}}, rows);
  add(graph::Save{.name = kIds, .value = ids}, rows);
  if (options.num_beams > 1) {
    const graph::NodeId scores = add(graph::Read{{.point = graph::Point::kBeamScores}}, rows);
    add(graph::Save{.name = kScores, .value = scores}, rows);
  }
  if (absl::Status status = graph::Check(program); !status.ok()) return status;
  return program;
}

int Generate(const GlobalOptions& global, const GenerateArguments& given) {
  const auto fail = [&](const absl::Status& status) { return Report(status, given.json); };
  GenerateArguments arguments = given;
  RunSettings settings;
  settings.stream_tokens = true;
  settings.edits = arguments.edits;
  settings.seed = arguments.seed ? *arguments.seed : std::random_device()();
  if (!arguments.deadline.empty()) {
    absl::StatusOr<absl::Duration> deadline = ParseTime(arguments.deadline);
    if (!deadline.ok()) return ReportUsage(deadline.status(), arguments.json);
    settings.deadline = *deadline;
  }
  if (!arguments.out.empty()) {
    if (absl::Status writable = CheckWritable(arguments.out); !writable.ok()) {
      return ReportUsage(writable, arguments.json);
    }
  }
  absl::StatusOr<std::string> prompt = arguments.prompt;
  if (arguments.prompt == "-") {
    if (arguments.program == "-") {
      return ReportUsage(
          absl::InvalidArgumentError(
              "the prompt and the program cannot both be standard input: give one as a file"),
          arguments.json);
    }
    prompt = ReadSource("-");
    // The end of the line that `echo` wrote is no part of it.
    if (prompt.ok() && !prompt->empty() && prompt->back() == '\n') prompt->pop_back();
  }
  if (!prompt.ok()) return fail(prompt.status());
  absl::StatusOr<std::string> text = "";
  if (!arguments.program.empty()) text = ReadSource(arguments.program);
  if (!text.ok()) return fail(text.status());

  Cancellation cancellation;
  InterruptScope interrupt(cancellation, /*survives_closed_pipes=*/!arguments.out.empty());
  settings.cancellation = cancellation;
  absl::StatusOr<std::shared_ptr<Backend>> backend = OpenBackend(global, arguments.model);
  if (!backend.ok()) return fail(backend.status());
  absl::StatusOr<uint32_t> length = NewTokens(**backend, arguments, arguments.model, *prompt);
  if (!length.ok()) return fail(length.status());
  arguments.options.max_new_tokens = *length;
  absl::StatusOr<Program> program = MakeProgram(arguments, *prompt, *text);
  if (!program.ok()) return fail(program.status());

  Progress progress;
  bool accepted = false;
  const bool several = arguments.options.num_return_sequences > 1;
  const std::string shown = arguments.echo ? *prompt : "";
  Writer writer(!arguments.json, several ? "" : shown);
  internal::ResultCollector collector(program->graph());
  const absl::Status status =
      (*backend)->Run(arguments.model, *program, settings, [&](RunEvent event) {
        if (auto* begin = std::get_if<event::Accepted>(&event)) {
          accepted = true;
          PrintWarnings(begin->warnings);
        } else if (auto* queued = std::get_if<event::Queued>(&event)) {
          progress.Say(absl::StrCat("waiting, ", queued->position, " before"));
        } else if (auto* waiting = std::get_if<event::Waiting>(&event)) {
          SayWaiting(*waiting);
        } else if (auto* log = std::get_if<event::Log>(&event)) {
          std::cerr << (log->label.empty() ? "log" : log->label) << ": " << log->text << "\n";
        } else if (auto* tokens = std::get_if<event::NewTokens>(&event)) {
          writer.Take(*tokens);
        } else if (auto* missing = std::get_if<event::Missing>(&event)) {
          std::cerr << "weft: " << missing->name << " has no value, or not all of them: "
                    << std::string(missing->reason.message()) << "\n";
        }
        collector.Take(event);
      });
  writer.Finish(shown);
  RunResult result = collector.Finish(status.ok());
  int code = kOk;
  if (!status.ok()) {
    code = Report(status);
    if (accepted && code != kUnavailable) code = kRunFailed;
  } else {
    if (!result.missing.empty()) code = kRunFailed;
    const bool drawn = internal::ToGraph(arguments.options).Samples();
    progress.Say(absl::StrCat(
        "done: ", Taken(result.cost),
        drawn ? absl::StrCat("; --seed ", settings.seed, " draws it again") : std::string()));
  }
  bool written = false;
  if (!arguments.out.empty() && (status.ok() || !result.saves.empty())) {
    written = WriteOut(arguments.out, arguments.model, result, progress);
    if (!written && code == kOk) code = kOther;
  }
  // The ids were printed as their text, or are beside it in the JSON.
  result.saves.erase(kIds);
  if (!written && !arguments.json) {
    for (const auto& [name, value] : result.saves) std::cout << Describe(name, value);
  }
  if (arguments.json) {
    json object = ToJson(result, /*with_data=*/!written);
    object["model"] = arguments.model;
    object["prompt"] = *prompt;
    object["seed"] = settings.seed;
    object["sequences"] = writer.ToJson();
    if (!status.ok()) object["error"] = ToJson(status);
    PrintJson(object);
  }
  return code;
}

}  // namespace weft::cli
