#include "weft/model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/model_state.h"
#include "client/src/recording.h"

namespace weft {
namespace {

using internal::Recorded;
using internal::Recording;
using internal::SaveState;

/// Ends an invoke whichever way its lambda is left.
class InvokeScope {
 public:
  InvokeScope(Recording* recording, const Input* input, Location where) : recording_(recording) {
    recording_->BeginInvoke(input, where);
  }
  ~InvokeScope() { recording_->EndInvoke(); }

 private:
  Recording* const recording_;
};

absl::StatusOr<Recorded> RecordInvoke(const std::shared_ptr<const internal::ModelState>& model,
                                      const Input& input, absl::FunctionRef<void()> body,
                                      Location where) {
  Recording recording(model, where);
  {
    InvokeScope scope(&recording, &input, where);
    body();
  }
  return recording.Finish();
}

}  // namespace

void Tracer::Invoke(const Input& input, absl::FunctionRef<void()> body, Location where) {
  InvokeScope scope(recording_, &input, where);
  body();
}

void Tracer::InvokeAll(absl::FunctionRef<void()> body, Location where) {
  InvokeScope scope(recording_, nullptr, where);
  body();
}

absl::StatusOr<Value> RunResult::Get(const std::string& name) const {
  if (const auto found = saves.find(name); found != saves.end()) return found->second;
  if (const auto found = missing.find(name); found != missing.end()) return found->second;
  return absl::NotFoundError(absl::StrCat("the trace saved nothing under the name ", name));
}

LanguageModel::LanguageModel(std::shared_ptr<const internal::ModelState> model)
    : Module(std::move(model), "") {}

const std::string& LanguageModel::name() const { return description().summary.name; }
const ModelDescription& LanguageModel::description() const { return model_->description; }

absl::StatusOr<internal::Recorded> LanguageModel::RecordInvokes(
    absl::FunctionRef<void(Tracer&)> body, Location where) const {
  Recording recording(model_, where);
  Tracer tracer(&recording);
  body(tracer);
  return recording.Finish();
}

absl::StatusOr<RunResult> LanguageModel::Trace(const Input& input, absl::FunctionRef<void()> body,
                                               const TraceOptions& options, Location where) const {
  return RunRecorded(RecordInvoke(model_, input, body, where), options);
}

absl::StatusOr<RunResult> LanguageModel::Trace(absl::FunctionRef<void(Tracer&)> body,
                                               const TraceOptions& options, Location where) const {
  return RunRecorded(RecordInvokes(body, where), options);
}

absl::StatusOr<ValidationReport> LanguageModel::Validate(const Input& input,
                                                         absl::FunctionRef<void()> body,
                                                         const TraceOptions& options,
                                                         Location where) const {
  return ValidateRecorded(RecordInvoke(model_, input, body, where), options);
}

absl::StatusOr<ValidationReport> LanguageModel::Validate(absl::FunctionRef<void(Tracer&)> body,
                                                         const TraceOptions& options,
                                                         Location where) const {
  return ValidateRecorded(RecordInvokes(body, where), options);
}

absl::StatusOr<ValidationReport> LanguageModel::ValidateRecorded(
    const absl::StatusOr<internal::Recorded>& recorded, const TraceOptions& options) const {
  if (!recorded.ok()) return recorded.status();
  const absl::StatusOr<Program> program = model_->WithEdits(recorded->program);
  if (!program.ok()) return program.status();
  return model_->backend->Validate(name(), *program, options.settings());
}

absl::StatusOr<Program> LanguageModel::Record(const Input& input, absl::FunctionRef<void()> body,
                                              Location where) const {
  absl::StatusOr<Recorded> recorded = RecordInvoke(model_, input, body, where);
  if (!recorded.ok()) return recorded.status();
  return recorded->program;
}

absl::StatusOr<Program> LanguageModel::Record(absl::FunctionRef<void(Tracer&)> body,
                                              Location where) const {
  absl::StatusOr<Recorded> recorded = RecordInvokes(body, where);
  if (!recorded.ok()) return recorded.status();
  return recorded->program;
}

absl::StatusOr<RunResult> LanguageModel::RunRecorded(const absl::StatusOr<Recorded>& recorded,
                                                     const TraceOptions& options) const {
  if (!recorded.ok()) return recorded.status();
  return RunInto(recorded->program, recorded->saves, options);
}

absl::StatusOr<RunResult> LanguageModel::Run(const Program& program,
                                             const TraceOptions& options) const {
  return RunInto(program, {}, options);
}

absl::StatusOr<RunResult> LanguageModel::RunInto(
    const Program& program, const std::vector<std::shared_ptr<SaveState>>& saves,
    const TraceOptions& options) const {
  const absl::StatusOr<Program> edited = model_->WithEdits(program);
  if (!edited.ok()) {
    for (const std::shared_ptr<SaveState>& save : saves) save->status = edited.status();
    return edited.status();
  }
  std::map<std::string, SaveState*> waiting;
  for (const std::shared_ptr<SaveState>& save : saves) {
    save->status = absl::UnavailableError(absl::StrCat("save ", save->name, " has not come yet"));
    waiting[save->name] = save.get();
  }
  const auto take_state = [&waiting](const std::string& name) -> SaveState* {
    const auto found = waiting.find(name);
    if (found == waiting.end()) return nullptr;
    SaveState* state = found->second;
    waiting.erase(found);
    return state;
  };

  RunResult result;
  const auto take = [&](const RunEvent& event) {
    if (const auto* accepted = std::get_if<event::Accepted>(&event)) {
      result.job_id = accepted->job_id;
      result.fingerprint = accepted->fingerprint;
      result.warnings = accepted->warnings;
    } else if (const auto* log = std::get_if<event::Log>(&event)) {
      result.log.push_back({log->label, log->text});
    } else if (const auto* saved = std::get_if<event::Result>(&event)) {
      result.saves[saved->name] = saved->value;
      if (SaveState* state = take_state(saved->name)) {
        state->value = saved->value;
        state->status = absl::OkStatus();
      }
    } else if (const auto* missing = std::get_if<event::Missing>(&event)) {
      result.missing[missing->name] = missing->reason;
      if (SaveState* state = take_state(missing->name)) state->status = missing->reason;
    } else if (const auto* completed = std::get_if<event::Completed>(&event)) {
      result.fingerprint = completed->fingerprint;
      result.cost = completed->cost;
    }
  };
  const absl::Status status =
      model_->backend->Run(name(), *edited, options.settings(), [&](RunEvent event) {
        take(event);
        if (options.on_event) options.on_event(event);
      });
  for (const auto& [name, state] : waiting) {
    state->status = status.ok()
                        ? absl::InternalError(absl::StrCat("the run sent neither a value of save ",
                                                           name, " nor a reason why it has none"))
                        : status;
  }
  if (!status.ok()) return status;
  return result;
}

Var LanguageModel::OfInvoke(uint8_t point, Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  return recording->Read(*model_, "", static_cast<graph::Point>(point), 0, where);
}

Var LanguageModel::result(Location where) const {
  return OfInvoke(static_cast<uint8_t>(graph::Point::kResult), where);
}
Var LanguageModel::ids(Location where) const {
  return OfInvoke(static_cast<uint8_t>(graph::Point::kIds), where);
}
Var LanguageModel::mask(Location where) const {
  return OfInvoke(static_cast<uint8_t>(graph::Point::kMask), where);
}
Var LanguageModel::positions(Location where) const {
  return OfInvoke(static_cast<uint8_t>(graph::Point::kPositions), where);
}
Var LanguageModel::rows(Location where) const {
  return OfInvoke(static_cast<uint8_t>(graph::Point::kRows), where);
}

absl::StatusOr<std::vector<int64_t>> LanguageModel::Encode(const std::string& text) const {
  auto rows = model_->backend->Tokenize(name(), {text});
  if (!rows.ok()) return rows.status();
  if (rows->size() != 1) return absl::InternalError("one text was not tokenised into one row");
  return std::move((*rows)[0]);
}

absl::StatusOr<std::string> LanguageModel::Decode(const std::vector<int64_t>& ids) const {
  auto texts = model_->backend->Detokenize(name(), {ids});
  if (!texts.ok()) return texts.status();
  if (texts->size() != 1) return absl::InternalError("one row was not decoded into one text");
  return std::move((*texts)[0]);
}

namespace {

absl::Status CheckIds(const Tensor& ids) {
  if (ids.dtype() <= kInt64 && ids.dtype() != kBool) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a tensor ", ids.Type(), " does not hold token ids, which are integers"));
}

}  // namespace

absl::StatusOr<std::string> LanguageModel::Decode(const Tensor& ids) const {
  if (absl::Status status = CheckIds(ids); !status.ok()) return status;
  return Decode(ids.ToVector<int64_t>());
}

absl::StatusOr<std::vector<std::string>> LanguageModel::DecodeRows(const Tensor& ids) const {
  if (absl::Status status = CheckIds(ids); !status.ok()) return status;
  if (ids.dim() == 0) {
    return absl::InvalidArgumentError("a tensor without dimensions has no rows of token ids");
  }
  std::vector<std::vector<int64_t>> rows;
  for (int64_t i = 0; i < ids.size(0); ++i) rows.push_back(ids[i].ToVector<int64_t>());
  if (rows.empty()) return std::vector<std::string>();
  return model_->backend->Detokenize(name(), rows);
}

}  // namespace weft
