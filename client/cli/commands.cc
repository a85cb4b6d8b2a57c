#include "client/cli/commands.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/key_text.h"
#include "client/cli/results.h"
#include "client/cli/running.h"
#include "client/src/model_state.h"
#include "client/src/result_collector.h"
#include "weft/client.h"

namespace weft::cli {
namespace {

using nlohmann::json;

/// What run and validate begin with.
struct Task {
  std::shared_ptr<Backend> backend;
  std::string model;
  std::optional<Program> program;
  RunSettings settings;
};

/// All of it but the backend. Nothing after an error, which was reported; `code` is then the exit
/// code.
std::optional<Task> ReadTask(const RunArguments& arguments, int* code) {
  const auto refuse = [&](const absl::Status& status) {
    *code = ReportUsage(status, arguments.json);
    return std::nullopt;
  };
  Task task;
  if (!arguments.deadline.empty()) {
    absl::StatusOr<absl::Duration> deadline = ParseTime(arguments.deadline);
    if (!deadline.ok()) return refuse(deadline.status());
    task.settings.deadline = *deadline;
  }
  if (!arguments.out.empty()) {
    if (absl::Status status = CheckWritable(arguments.out); !status.ok()) return refuse(status);
  }
  task.settings.exclusive = arguments.exclusive;
  task.settings.exact = arguments.exact;
  task.settings.seed = arguments.seed;
  task.settings.edits = arguments.edits;

  absl::StatusOr<std::string> text = ReadSource(arguments.file);
  if (!text.ok()) return refuse(text.status());
  absl::StatusOr<Program> program =
      Program::Parse(*text, arguments.file == "-" ? "<stdin>" : arguments.file);
  if (!program.ok()) {
    *code = Report(program.status(), arguments.json);
    return std::nullopt;
  }
  task.program = *std::move(program);
  return task;
}

absl::Status OpenModel(const GlobalOptions& global, const std::string& name, Task* task) {
  absl::StatusOr<std::shared_ptr<Backend>> backend = OpenBackend(global, name);
  if (!backend.ok()) return backend.status();
  task->backend = *std::move(backend);
  absl::StatusOr<std::string> model = ChooseModel(task->backend.get(), name);
  if (!model.ok()) return model.status();
  task->model = *std::move(model);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ChooseModel(Backend* backend, const std::string& model) {
  if (!model.empty()) return model;
  absl::StatusOr<std::vector<HostedModel>> models = backend->ListModels();
  if (!models.ok()) return models.status();
  if (models->size() == 1) return (*models)[0].name;
  const auto name = [](std::string* out, const HostedModel& m) { *out += m.name; };
  return absl::NotFoundError(
      absl::StrCat("say which model with --model: there are ",
                   models->empty() ? "none" : absl::StrJoin(*models, ", ", name)));
}

absl::StatusOr<std::string> ReadSource(const std::string& file) {
  if (file == "-") {
    return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  std::ifstream stream(file, std::ios::binary);
  // A folder can be opened, and reading it throws.
  std::error_code unknown;
  if (!stream.good() || std::filesystem::is_directory(file, unknown)) {
    return absl::NotFoundError(absl::StrCat("cannot read ", file));
  }
  return std::string(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
}

RemoteOptions ToRemoteOptions(const GlobalOptions& global) {
  return {.api_key = global.api_key,
          .tls = global.tls,
          .ca_file = global.ca_file,
          .cert_file = global.cert_file,
          .key_file = global.key_file,
          .retry = {.wait_for_limits = global.wait, .on_wait = SayWaiting}};
}

ExitCode CodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kOk;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kPermission;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kUnavailable;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
      return kRefused;
    default:
      return kOther;
  }
}

int Report(const absl::Status& status, bool as_json) {
  if (as_json) PrintJson({{"error", ToJson(status)}});
  std::cerr << "weft: " << std::string(status.message()) << "\n";
  return CodeOf(status);
}

int ReportUsage(const absl::Status& status, bool as_json) {
  Report(status, as_json);
  return kUsage;
}

absl::StatusOr<absl::Duration> ParseTime(const std::string& text) {
  absl::Duration duration;
  double number = 0;
  if (absl::SimpleAtod(text, &number)) {
    duration = absl::Seconds(number);
  } else if (absl::EndsWith(text, "d") &&
             absl::SimpleAtod(text.substr(0, text.size() - 1), &number)) {
    duration = absl::Hours(24) * number;
  } else if (!absl::ParseDuration(text, &duration)) {
    duration = absl::ZeroDuration();
  }
  if (std::isnan(number) || duration <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is no time; write 5 or 5s, 500ms, 2m, 12h, 30d"));
  }
  return duration;
}

int Run(const GlobalOptions& global, const RunArguments& arguments) {
  int code = kOk;
  std::optional<Task> task = ReadTask(arguments, &code);
  if (!task) return code;
  Cancellation cancellation;
  // Before any other thread starts, so that all of them leave signals to it.
  InterruptScope interrupt(cancellation, /*survives_closed_pipes=*/!arguments.out.empty());
  if (absl::Status opened = OpenModel(global, arguments.model, &*task); !opened.ok()) {
    return Report(opened, arguments.json);
  }
  task->settings.cancellation = cancellation;

  Progress progress;
  bool accepted = false;
  internal::ResultCollector collector(task->program->graph());
  const absl::Status status =
      task->backend->Run(task->model, *task->program, task->settings, [&](RunEvent event) {
        if (auto* begin = std::get_if<event::Accepted>(&event)) {
          accepted = true;
          PrintWarnings(begin->warnings);
        } else if (auto* queued = std::get_if<event::Queued>(&event)) {
          progress.Say(absl::StrCat("waiting, ", queued->position, " before"));
        } else if (std::holds_alternative<event::Running>(event)) {
          progress.Say("running");
        } else if (auto* waiting = std::get_if<event::Waiting>(&event)) {
          SayWaiting(*waiting);
        } else if (auto* receiving = std::get_if<event::Receiving>(&event)) {
          progress.Say(*receiving);
        } else if (auto* log = std::get_if<event::Log>(&event)) {
          std::cerr << (log->label.empty() ? "log" : log->label) << ": " << log->text << "\n";
        } else if (auto* saved = std::get_if<event::Result>(&event)) {
          // Items of lists as they come, each with its place.
          if (!arguments.json) {
            std::cout << Describe(collector.NameOf(*saved), saved->value) << std::flush;
          }
        } else if (auto* missing = std::get_if<event::Missing>(&event)) {
          std::cerr << "weft: " << missing->name << " has no value"
                    << (collector.IsList(missing->name) ? ", or not all of them: " : ": ")
                    << std::string(missing->reason.message()) << "\n";
        }
        collector.Take(event);
      });
  RunResult result = collector.Finish(status.ok());
  if (status.ok()) {
    code = result.missing.empty() ? kOk : kRunFailed;
    progress.Say(absl::StrCat("done: ", Taken(result.cost)));
  } else {
    code = Report(status);
    if (accepted && code != kUnavailable) code = kRunFailed;
  }
  // What came before a failure is worth keeping, too.
  bool written = false;
  if (!arguments.out.empty() && (status.ok() || !result.saves.empty())) {
    written = WriteOut(arguments.out, task->model, result, progress);
    if (!written && code == kOk) code = kOther;
  }
  if (arguments.json) {
    json object = ToJson(result, /*with_data=*/!written);
    object["model"] = task->model;
    if (!status.ok()) object["error"] = ToJson(status);
    PrintJson(object);
  }
  return code;
}

int Validate(const GlobalOptions& global, const RunArguments& arguments) {
  int code = kOk;
  std::optional<Task> task = ReadTask(arguments, &code);
  if (!task) return code;
  if (absl::Status opened = OpenModel(global, arguments.model, &*task); !opened.ok()) {
    return Report(opened, arguments.json);
  }
  absl::StatusOr<ValidationReport> report =
      task->backend->Validate(task->model, *task->program, task->settings);
  if (!report.ok()) {
    return Report(report.status(), arguments.json);
  }
  if (arguments.json) {
    PrintJson(ToJson(*report));
    return kOk;
  }
  PrintWarnings(report->warnings);
  for (const auto& save : report->saves) std::cout << save.name << "  " << save.type << "\n";
  std::cout << "valid: " << Plural(report->estimate.tokens, "token") << ", "
            << Plural(report->estimate.result_bytes, "byte") << " of results, "
            << Plural(report->estimate.peak_bytes, "byte") << " of memory at most\n";
  return kOk;
}

int ListModels(const GlobalOptions& global) {
  absl::StatusOr<std::shared_ptr<Backend>> backend = OpenBackend(global, "");
  if (!backend.ok()) return Report(backend.status());
  absl::StatusOr<std::vector<HostedModel>> models = (*backend)->ListModels();
  if (!models.ok()) return Report(models.status());
  for (const HostedModel& model : *models) {
    std::cout << model.name << "  " << model.family << "  " << model.parameters << " parameters  "
              << model.dtype << " on " << model.device << "  at most " << model.max_tokens
              << " tokens  " << model.fingerprint;
    if (!model.adapters.empty()) {
      std::cout << "  adapters " << absl::StrJoin(model.adapters, ", ");
    }
    std::cout << "\n";
  }
  return kOk;
}

int PrintModelTree(const GlobalOptions& global, const std::string& name, const std::string& path,
                   bool sites, bool operations) {
  absl::StatusOr<std::shared_ptr<Backend>> backend = OpenBackend(global, name);
  if (!backend.ok()) return Report(backend.status());
  absl::StatusOr<ModelDescription> description = (*backend)->GetModel(name);
  if (!description.ok()) return Report(description.status());
  const internal::ModelState model(*backend, *std::move(description));
  if (absl::Status status = model.CheckModule(path); !status.ok()) return Report(status);
  std::cout << internal::PrintTree(model.description, path, sites, operations);
  return kOk;
}

int ListOperators(const GlobalOptions& global, const std::string& pattern) {
  absl::StatusOr<std::shared_ptr<Backend>> backend = OpenBackend(global, "");
  if (!backend.ok()) return Report(backend.status());
  absl::StatusOr<std::vector<OperatorDescription>> operators = (*backend)->ListOperators();
  if (!operators.ok()) return Report(operators.status());
  const std::string wanted = absl::AsciiStrToLower(pattern);
  size_t shown = 0;
  for (const OperatorDescription& description : *operators) {
    if (!absl::StrContains(absl::AsciiStrToLower(description.name), wanted)) continue;
    ++shown;
    for (const OperatorDescription::Overload& overload : description.overloads) {
      std::cout << overload.schema << "  # " << overload.makes
                << (overload.in_place ? ", in place" : "") << (overload.random ? ", random" : "")
                << "\n";
    }
  }
  Progress().Say(absl::StrCat(shown, " of ", Plural(operators->size(), "operator")));
  if (shown > 0) return kOk;
  std::cerr << "weft: no operator's name contains \"" << pattern << "\"\n";
  return kOther;
}

int Health(const GlobalOptions& global, const std::string& model) {
  const absl::Status status = CheckHealth(global.target, ToRemoteOptions(global), model);
  if (!status.ok()) {
    Report(status);
    return kUnavailable;
  }
  std::cout << "serving\n";
  return kOk;
}

int WhoAmI(const GlobalOptions& global, bool as_json) {
  absl::StatusOr<std::shared_ptr<Backend>> backend = OpenBackend(global, "");
  if (!backend.ok()) return Report(backend.status());
  absl::StatusOr<Identity> identity = (*backend)->WhoAmI();
  if (!identity.ok()) return Report(identity.status(), as_json);
  keys::KeyLimits limits;
  limits.requests_per_minute = identity->limits.requests_per_minute;
  limits.tokens_per_minute = identity->limits.tokens_per_minute;
  limits.concurrent_runs = identity->limits.concurrent_runs;
  limits.result_bytes = identity->limits.result_bytes;
  limits.run_seconds = identity->limits.run_seconds;
  limits.generated_tokens = identity->limits.generated_tokens;
  limits.blob_bytes = identity->limits.blob_bytes;
  const bool expires = identity->expires != absl::InfiniteFuture();
  const std::string expiry =
      expires ? absl::FormatTime(absl::RFC3339_sec, identity->expires, absl::UTCTimeZone()) : "";
  if (as_json) {
    PrintJson({{"key_id", identity->key_id},
               {"label", identity->label},
               {"scopes", identity->scopes},
               {"models", identity->models},
               {"expires", expires ? json(expiry) : json(nullptr)},
               {"limits", ToJson(limits)}});
    return kOk;
  }
  const std::vector<std::string> bounds = Describe(limits);
  std::cout << Table(
      {{"key", identity->key_id.empty() ? "none needed" : identity->key_id},
       {"label", identity->label},
       {"scopes", absl::StrJoin(identity->scopes, ", ")},
       {"models", absl::StrJoin(identity->models, ", ")},
       {"expires", expires ? expiry : "never"},
       {"limits", bounds.empty() ? "none of its own" : absl::StrJoin(bounds, "\n         ")}});
  return kOk;
}

}  // namespace weft::cli
