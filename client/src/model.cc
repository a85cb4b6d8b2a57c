#include "weft/model.h"

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/model_state.h"
#include "client/src/recording.h"
#include "client/src/trace_recorder.h"

namespace weft {
namespace {

using internal::Recorded;
using internal::Recording;
using internal::RunRecorded;

absl::StatusOr<ValidationReport> ValidateRecorded(const internal::ModelState& model,
                                                  const absl::StatusOr<Recorded>& recorded,
                                                  const TraceOptions& options) {
  if (!recorded.ok()) return recorded.status();
  const absl::StatusOr<Program> edited = model.WithEdits(recorded->program);
  if (!edited.ok()) return edited.status();
  return model.backend->Validate(model.description.summary.name, *edited,
                                 model.SettingsOf(options));
}

absl::StatusOr<Program> ProgramOf(const absl::StatusOr<Recorded>& recorded) {
  if (!recorded.ok()) return recorded.status();
  return recorded->program;
}

}  // namespace

LanguageModel::LanguageModel(std::shared_ptr<const internal::ModelState> model)
    : Module(std::move(model), "") {}

const std::string& LanguageModel::name() const { return description().summary.name; }
const ModelDescription& LanguageModel::description() const { return model_->description; }

namespace {

/// The first of these fields of config.json that is a whole number; 0 if none is.
int64_t NumberInConfig(const std::string& config_json, std::initializer_list<const char*> fields) {
  const auto json = nlohmann::json::parse(config_json, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return 0;
  for (const char* field : fields) {
    const auto found = json.find(field);
    if (found != json.end() && found->is_number_integer()) return found->get<int64_t>();
  }
  return 0;
}

}  // namespace

int64_t LanguageModel::hidden_size() const {
  return NumberInConfig(config_json(), {"hidden_size", "n_embd", "d_model"});
}

int64_t LanguageModel::heads() const {
  return NumberInConfig(config_json(), {"num_attention_heads", "n_head", "num_heads"});
}

absl::StatusOr<RunResult> LanguageModel::Trace(const Input& input, absl::FunctionRef<void()> body,
                                               const TraceOptions& options, Location where) const {
  return Trace(
      input, [&body](Tracer&) { body(); }, options, where);
}

absl::StatusOr<RunResult> LanguageModel::Trace(const Input& input,
                                               absl::FunctionRef<void(Tracer&)> body,
                                               const TraceOptions& options, Location where) const {
  return RunRecorded(*model_, TraceRecorder::Record(model_, {}, &input, body, where), options);
}

absl::StatusOr<RunResult> LanguageModel::Trace(absl::FunctionRef<void(Tracer&)> body,
                                               const TraceOptions& options, Location where) const {
  return RunRecorded(*model_, TraceRecorder::Record(model_, {}, nullptr, body, where), options);
}

absl::StatusOr<RunResult> LanguageModel::Generate(const Input& input,
                                                  const GenerateOptions& generate,
                                                  absl::FunctionRef<void()> body,
                                                  const TraceOptions& options,
                                                  Location where) const {
  return Generate(
      input, generate, [&body](Tracer&) { body(); }, options, where);
}

absl::StatusOr<RunResult> LanguageModel::Generate(const Input& input,
                                                  const GenerateOptions& generate,
                                                  absl::FunctionRef<void(Tracer&)> body,
                                                  const TraceOptions& options,
                                                  Location where) const {
  return RunRecorded(*model_,
                     TraceRecorder::Record(model_, {nullptr, "", generate}, &input, body, where),
                     options);
}

absl::StatusOr<RunResult> LanguageModel::Generate(const GenerateOptions& generate,
                                                  absl::FunctionRef<void(Tracer&)> body,
                                                  const TraceOptions& options,
                                                  Location where) const {
  return RunRecorded(*model_,
                     TraceRecorder::Record(model_, {nullptr, "", generate}, nullptr, body, where),
                     options);
}

absl::StatusOr<RunResult> LanguageModel::Session(absl::FunctionRef<void(weft::Session&)> body,
                                                 const TraceOptions& options,
                                                 Location where) const {
  return RunRecorded(*model_, TraceRecorder::Record(model_, body, where), options);
}

absl::StatusOr<RunResult> Module::Trace(const Input& input, absl::FunctionRef<void()> body,
                                        const TraceOptions& options, Location where) const {
  return Trace(
      input, [&body](Tracer&) { body(); }, options, where);
}

absl::StatusOr<RunResult> Module::Trace(const Input& input, absl::FunctionRef<void(Tracer&)> body,
                                        const TraceOptions& options, Location where) const {
  return RunRecorded(*model_,
                     TraceRecorder::Record(model_, {this, "", std::nullopt}, &input, body, where),
                     options);
}

absl::StatusOr<RunResult> Module::Trace(absl::FunctionRef<void(Tracer&)> body,
                                        const TraceOptions& options, Location where) const {
  return RunRecorded(*model_,
                     TraceRecorder::Record(model_, {this, "", std::nullopt}, nullptr, body, where),
                     options);
}

absl::StatusOr<ValidationReport> LanguageModel::Validate(const Input& input,
                                                         absl::FunctionRef<void()> body,
                                                         const TraceOptions& options,
                                                         Location where) const {
  return ValidateRecorded(*model_,
                          TraceRecorder::Record(
                              model_, {}, &input, [&body](Tracer&) { body(); }, where),
                          options);
}

absl::StatusOr<ValidationReport> LanguageModel::Validate(absl::FunctionRef<void(Tracer&)> body,
                                                         const TraceOptions& options,
                                                         Location where) const {
  return ValidateRecorded(*model_, TraceRecorder::Record(model_, {}, nullptr, body, where),
                          options);
}

absl::StatusOr<ValidationReport> LanguageModel::Validate(
    absl::FunctionRef<void(weft::Session&)> body, const TraceOptions& options,
    Location where) const {
  return ValidateRecorded(*model_, TraceRecorder::Record(model_, body, where), options);
}

absl::StatusOr<Program> LanguageModel::Record(const Input& input, absl::FunctionRef<void()> body,
                                              Location where) const {
  return ProgramOf(TraceRecorder::Record(
      model_, {}, &input, [&body](Tracer&) { body(); }, where));
}

absl::StatusOr<Program> LanguageModel::Record(absl::FunctionRef<void(Tracer&)> body,
                                              Location where) const {
  return ProgramOf(TraceRecorder::Record(model_, {}, nullptr, body, where));
}

absl::StatusOr<Program> LanguageModel::Record(absl::FunctionRef<void(weft::Session&)> body,
                                              Location where) const {
  return ProgramOf(TraceRecorder::Record(model_, body, where));
}

absl::StatusOr<RunResult> LanguageModel::Run(const Program& program,
                                             const TraceOptions& options) const {
  return internal::RunProgram(*model_, program, {}, options);
}

Var LanguageModel::OfInvoke(uint8_t point, Location where) const {
  Recording* recording = Recording::Current();
  if (recording == nullptr) return Var();
  return recording->ReadInvoke(*model_, static_cast<graph::Point>(point), where);
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

Var LanguageModel::logits(Location where) const {
  return OfInvoke(static_cast<uint8_t>(graph::Point::kLogits), where);
}
Var LanguageModel::samples(Location where) const {
  return OfInvoke(static_cast<uint8_t>(graph::Point::kSamples), where);
}

Var LanguageModel::beam_scores(Location where) const {
  return OfInvoke(static_cast<uint8_t>(graph::Point::kBeamScores), where);
}

absl::StatusOr<std::vector<int64_t>> LanguageModel::Encode(const std::string& text) const {
  auto rows = model_->backend->Tokenize(name(), {text});
  if (!rows.ok()) return rows.status();
  if (rows->size() != 1) return absl::InternalError("one text was not tokenised into one row");
  return std::move((*rows)[0]);
}

absl::StatusOr<std::vector<std::string>> LanguageModel::Tokens(const std::string& text) const {
  const auto ids = Encode(text);
  if (!ids.ok()) return ids.status();
  std::vector<std::vector<int64_t>> rows;
  for (const int64_t id : *ids) rows.push_back({id});
  if (rows.empty()) return std::vector<std::string>();
  return model_->backend->Detokenize(name(), rows, /*skip_special_tokens=*/false);
}

absl::StatusOr<std::string> LanguageModel::Decode(const std::vector<int64_t>& ids,
                                                  const DecodeOptions& options) const {
  auto texts = model_->backend->Detokenize(name(), {ids}, options.skip_special_tokens);
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

absl::StatusOr<std::string> LanguageModel::Decode(const Tensor& ids,
                                                  const DecodeOptions& options) const {
  if (absl::Status status = CheckIds(ids); !status.ok()) return status;
  return Decode(ids.ToVector<int64_t>(), options);
}

absl::StatusOr<std::vector<std::string>> LanguageModel::DecodeRows(
    const Tensor& ids, const DecodeOptions& options) const {
  if (absl::Status status = CheckIds(ids); !status.ok()) return status;
  if (ids.dim() == 0) {
    return absl::InvalidArgumentError("a tensor without dimensions has no rows of token ids");
  }
  std::vector<std::vector<int64_t>> rows;
  for (int64_t i = 0; i < ids.size(0); ++i) rows.push_back(ids[i].ToVector<int64_t>());
  if (rows.empty()) return std::vector<std::string>();
  return model_->backend->Detokenize(name(), rows, options.skip_special_tokens);
}

}  // namespace weft
