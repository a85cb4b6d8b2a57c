// What a handle stores beside the model: edits, attached modules, registered classes; and edits
// that the server keeps.
#include "engine/graph/edits.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/src/model_state.h"
#include "client/src/trace_recorder.h"
#include "engine/graph/edit_name.h"
#include "engine/graph/syntax.h"
#include "engine/graph/text.h"
#include "weft/model.h"

namespace weft {
namespace {

using internal::HandleEdit;
using internal::ModelState;
using internal::Recorded;

// A line of its own before each edit of a file; comments mean nothing to the parser.
constexpr char kEditLine[] = "# edit ";

/// The program of an edit that is recorded. It may speak of steps, as in a generation.
absl::StatusOr<Program> RecordEdit(const std::shared_ptr<const ModelState>& model,
                                   absl::FunctionRef<void(Tracer&)> body, Location where) {
  GenerateOptions generate;
  generate.max_new_tokens = internal::kUnknownSteps;
  const absl::StatusOr<Recorded> recorded = TraceRecorder::Record(
      model, {nullptr, "", generate}, nullptr,
      [&](Tracer& trace) { trace.InvokeAll([&] { body(trace); }, where); }, where);
  if (!recorded.ok()) return recorded.status();
  for (const auto& save : recorded->saves) {
    save->status = absl::FailedPreconditionError(
        absl::StrCat("save ", save->name,
                     " belongs to an edit: each run that applies it has the value in "
                     "RunResult::saves"));
  }
  graph::Program program = recorded->program.graph();
  auto& trace = std::get<graph::Trace>(program.nodes[0].kind);
  trace.generate.reset();
  // It goes with whichever adapter the traces choose that it is applied to.
  trace.adapter.clear();
  return Program(std::move(program));
}

absl::StatusOr<std::shared_ptr<const ModelState>> WithEdit(
    const std::shared_ptr<const ModelState>& model, absl::FunctionRef<void(Tracer&)> body,
    const EditOptions& options, Location where) {
  const std::string name =
      options.name.empty() ? absl::StrCat(model->edits.size() + 1) : options.name;
  if (name.find('\n') != std::string::npos) {
    return absl::InvalidArgumentError("an edit's name has no line ends");
  }
  absl::StatusOr<Program> program = RecordEdit(model, body, where);
  if (!program.ok()) return program.status();
  absl::Status status = graph::CheckEdit(name, program->graph(), internal::UnlimitedProgram());
  if (!status.ok()) return status;
  auto state = std::make_shared<ModelState>(*model);
  state->edits.push_back({name, *std::move(program)});
  return state;
}

/// kInvalidArgument for what would lead out of the folder.
absl::StatusOr<std::filesystem::path> EditFile(const std::string& name,
                                               const std::string& directory,
                                               const std::string& variant) {
  for (const std::string& part : {name, variant}) {
    if (part.empty() || part == "." || part == ".." ||
        part.find_first_of("/\\") != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          "edits are kept under a name and a variant without `/`, not \"", part, "\""));
    }
  }
  return std::filesystem::path(directory) / name / (variant + ".weft");
}

absl::StatusOr<std::vector<HandleEdit>> ParseEdits(const std::string& text,
                                                   const std::string& file) {
  std::vector<HandleEdit> edits;
  std::istringstream lines(text);
  std::string line, name, program;
  bool open = false;
  // Lines are kept where they are in the file, so that errors name them.
  std::string skipped;
  const auto finish = [&]() -> absl::Status {
    if (!open) return absl::OkStatus();
    absl::StatusOr<Program> parsed = Program::Parse(program, file);
    if (!parsed.ok()) return parsed.status();
    absl::Status status = graph::CheckEdit(name, parsed->graph(), internal::UnlimitedProgram());
    if (!status.ok()) return status;
    edits.push_back({name, *std::move(parsed)});
    return absl::OkStatus();
  };
  while (std::getline(lines, line)) {
    if (absl::StartsWith(line, kEditLine)) {
      if (absl::Status status = finish(); !status.ok()) return status;
      open = true;
      name = line.substr(sizeof(kEditLine) - 1);
      program = skipped;
    }
    skipped += "\n";
    if (open) absl::StrAppend(&program, line, "\n");
  }
  if (absl::Status status = finish(); !status.ok()) return status;
  if (edits.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, " holds no edits: each begins with a line `", kEditLine, "NAME`"));
  }
  return edits;
}

}  // namespace

absl::StatusOr<LanguageModel> LanguageModel::Edit(absl::FunctionRef<void(Tracer&)> body,
                                                  const EditOptions& options,
                                                  Location where) const {
  auto state = WithEdit(model_, body, options, where);
  if (!state.ok()) return state.status();
  return LanguageModel(*std::move(state));
}

absl::StatusOr<LanguageModel> LanguageModel::Edit(absl::FunctionRef<void()> body,
                                                  const EditOptions& options,
                                                  Location where) const {
  return Edit([&body](Tracer&) { body(); }, options, where);
}

absl::Status LanguageModel::EditInPlace(absl::FunctionRef<void(Tracer&)> body,
                                        const EditOptions& options, Location where) {
  auto state = WithEdit(model_, body, options, where);
  if (!state.ok()) return state.status();
  model_ = *std::move(state);
  return absl::OkStatus();
}

absl::Status LanguageModel::EditInPlace(absl::FunctionRef<void()> body, const EditOptions& options,
                                        Location where) {
  return EditInPlace([&body](Tracer&) { body(); }, options, where);
}

void LanguageModel::ClearEdits() {
  auto state = std::make_shared<ModelState>(*model_);
  state->edits.clear();
  state->stored_edits.clear();
  model_ = std::move(state);
}

std::vector<std::string> LanguageModel::edits() const {
  std::vector<std::string> names = model_->stored_edits;
  for (const HandleEdit& edit : model_->edits) names.push_back(edit.name);
  return names;
}

absl::StatusOr<EditVersion> LanguageModel::StoreEdit(const std::string& name,
                                                     absl::FunctionRef<void(Tracer&)> body,
                                                     const StoreEditOptions& options,
                                                     Location where) const {
  if (absl::Status status = graph::CheckEditName(name); !status.ok()) return status;
  absl::StatusOr<Program> program = RecordEdit(model_, body, where);
  if (!program.ok()) return program.status();
  return model_->backend->StoreEdit(this->name(), name, *program, options);
}

absl::StatusOr<EditVersion> LanguageModel::StoreEdit(const std::string& name,
                                                     absl::FunctionRef<void()> body,
                                                     const StoreEditOptions& options,
                                                     Location where) const {
  return StoreEdit(
      name, [&body](Tracer&) { body(); }, options, where);
}

LanguageModel LanguageModel::WithEdits(const std::vector<std::string>& names) const {
  auto state = std::make_shared<ModelState>(*model_);
  state->stored_edits.insert(state->stored_edits.end(), names.begin(), names.end());
  return LanguageModel(std::move(state));
}

absl::StatusOr<LanguageModel> LanguageModel::WithAdapter(const std::string& name) const {
  auto state = std::make_shared<ModelState>(*model_);
  if (absl::Status status = state->UseAdapter(name); !status.ok()) return status;
  return LanguageModel(std::move(state));
}

absl::Status LanguageModel::ExportEdits(const std::string& name, const std::string& directory,
                                        const std::string& variant) const {
  if (model_->edits.empty()) {
    return absl::FailedPreconditionError("there are no edits to export: make one with Edit first");
  }
  absl::StatusOr<std::filesystem::path> path = EditFile(name, directory, variant);
  if (!path.ok()) return path.status();
  std::error_code error;
  std::filesystem::create_directories(path->parent_path(), error);
  std::ofstream file(*path, std::ios::binary | std::ios::trunc);
  for (const HandleEdit& edit : model_->edits) {
    file << kEditLine << edit.name << "\n" << edit.program.text() << "\n";
  }
  file.close();
  if (!file.good()) {
    return absl::UnavailableError(absl::StrCat("cannot write ", path->string()));
  }
  return absl::OkStatus();
}

absl::Status LanguageModel::ImportEdits(const std::string& name, const std::string& directory,
                                        const std::string& variant) {
  absl::StatusOr<std::filesystem::path> path = EditFile(name, directory, variant);
  if (!path.ok()) return path.status();
  std::ifstream file(*path, std::ios::binary);
  if (!file.good()) return absl::NotFoundError(absl::StrCat("there is no ", path->string()));
  std::ostringstream text;
  text << file.rdbuf();
  absl::StatusOr<std::vector<HandleEdit>> edits = ParseEdits(text.str(), path->filename().string());
  if (!edits.ok()) return edits.status();
  auto state = std::make_shared<ModelState>(*model_);
  for (HandleEdit& edit : *edits) state->edits.push_back(std::move(edit));
  model_ = std::move(state);
  return absl::OkStatus();
}

absl::Status LanguageModel::Attach(const std::string& path, const AttachedModule& module) {
  auto state = std::make_shared<ModelState>(*model_);
  if (absl::Status status = state->Attach(path, module); !status.ok()) return status;
  model_ = std::move(state);
  return absl::OkStatus();
}

void LanguageModel::RegisterKeys(std::type_index wrapper, const std::vector<std::string>& keys) {
  auto state = std::make_shared<ModelState>(*model_);
  std::vector<std::string>& registered = state->wrappers[wrapper];
  registered.insert(registered.end(), keys.begin(), keys.end());
  model_ = std::move(state);
}

}  // namespace weft
