#include "weft/tracer.h"

#include <memory>
#include <utility>

#include "client/src/convert.h"
#include "client/src/recording.h"
#include "client/src/trace_recorder.h"
#include "weft/model.h"
#include "weft/session.h"

namespace weft {

using internal::ContainerScope;
using internal::Recorded;
using internal::Recording;

graph::GenerateOptions internal::ToGraph(const GenerateOptions& options) {
  graph::GenerateOptions to;
  to.max_new_tokens = options.max_new_tokens;
  to.min_new_tokens = options.min_new_tokens;
  to.do_sample = options.do_sample;
  to.temperature = options.temperature;
  to.top_p = options.top_p;
  to.top_k = options.top_k;
  to.min_p = options.min_p;
  to.repetition_penalty = options.repetition_penalty;
  to.presence_penalty = options.presence_penalty;
  to.frequency_penalty = options.frequency_penalty;
  to.num_return_sequences = options.num_return_sequences;
  to.eos_token_ids = options.eos_token_ids;
  to.stop_strings = options.stop_strings;
  to.num_beams = options.num_beams;
  to.length_penalty = options.length_penalty;
  to.early_stopping = static_cast<graph::EarlyStopping>(options.early_stopping);
  to.no_repeat_ngram_size = options.no_repeat_ngram_size;
  return to;
}

ModuleName::ModuleName(const Module& module)
    : path_(module.path()), module_(std::make_shared<const Module>(module)) {}

void Tracer::Invoke(const Input& input, absl::FunctionRef<void()> body, Location where) {
  const ContainerScope scope(recording_);
  recording_->BeginInvoke(&input, where);
  body();
}

void Tracer::InvokeAll(absl::FunctionRef<void()> body, Location where) {
  const ContainerScope scope(recording_);
  recording_->BeginInvoke(nullptr, where);
  body();
}

void Tracer::steps(const StepSelection& selection, absl::FunctionRef<void()> body, Location where) {
  const ContainerScope scope(recording_);
  recording_->BeginSteps(selection, where);
  body();
}

void Tracer::steps(const StepSelection& selection, absl::FunctionRef<void(Step&)> body,
                   Location where) {
  const ContainerScope scope(recording_);
  recording_->BeginSteps(selection, where);
  Step step;
  body(step);
}

void Tracer::each_step(const StepSelection& selection, absl::FunctionRef<void(int64_t)> body,
                       Location where) {
  for (int64_t number : recording_->StepNumbers(selection, where)) {
    const ContainerScope scope(recording_);
    recording_->BeginSteps(number, where);
    body(number);
  }
}

SavedCache Tracer::cache(const std::vector<ModuleName>& modules, const CacheOptions& options,
                         Location where) {
  return SavedCache(recording_->Cache(modules, options, where));
}

void Tracer::stop(Location where) { recording_->Stop(where); }

void Tracer::RecordSweep(absl::Span<const Values> columns,
                         absl::FunctionRef<void(absl::Span<const Param>)> body) {
  const ContainerScope scope(recording_);
  const std::vector<Param> params = recording_->BeginSweep(columns);
  body(params);
}

void TraceRecorder::AddTrace(Recording* recording, const Header& header, const Input* input,
                             absl::FunctionRef<void(Tracer&)> body, Location where) {
  graph::Trace trace;
  trace.label = header.label;
  if (header.generate) {
    trace.generate =
        std::make_shared<const graph::GenerateOptions>(internal::ToGraph(*header.generate));
  }
  const ContainerScope scope(recording);
  recording->BeginTrace(std::move(trace), header.root, where);
  if (input != nullptr) recording->BeginInvoke(input, where);
  Tracer tracer(recording);
  body(tracer);
}

absl::StatusOr<Recorded> TraceRecorder::Record(
    const std::shared_ptr<const internal::ModelState>& model, const Header& header,
    const Input* input, absl::FunctionRef<void(Tracer&)> body, Location where) {
  Recording recording(model, where);
  AddTrace(&recording, header, input, body, where);
  return recording.Finish();
}

absl::StatusOr<Recorded> TraceRecorder::Record(
    const std::shared_ptr<const internal::ModelState>& model,
    absl::FunctionRef<void(Session&)> body, Location where) {
  Recording recording(model, where);
  Session session(&recording);
  body(session);
  return recording.Finish();
}

Session& Session::Label(const std::string& label) {
  label_ = label;
  return *this;
}

void Session::Trace(const Input& input, absl::FunctionRef<void()> body, Location where) {
  Trace(
      input, [&body](Tracer&) { body(); }, where);
}

void Session::Trace(const Input& input, absl::FunctionRef<void(Tracer&)> body, Location where) {
  TraceRecorder::AddTrace(recording_, {nullptr, std::exchange(label_, ""), std::nullopt}, &input,
                          body, where);
}

void Session::Trace(absl::FunctionRef<void(Tracer&)> body, Location where) {
  TraceRecorder::AddTrace(recording_, {nullptr, std::exchange(label_, ""), std::nullopt}, nullptr,
                          body, where);
}

void Session::Trace(const Module& root, const Input& input, absl::FunctionRef<void()> body,
                    Location where) {
  TraceRecorder::AddTrace(
      recording_, {&root, std::exchange(label_, ""), std::nullopt}, &input,
      [&body](Tracer&) { body(); }, where);
}

void Session::Generate(const Input& input, const GenerateOptions& options,
                       absl::FunctionRef<void()> body, Location where) {
  Generate(
      input, options, [&body](Tracer&) { body(); }, where);
}

void Session::Generate(const Input& input, const GenerateOptions& options,
                       absl::FunctionRef<void(Tracer&)> body, Location where) {
  TraceRecorder::AddTrace(recording_, {nullptr, std::exchange(label_, ""), options}, &input, body,
                          where);
}

void Session::Generate(const GenerateOptions& options, absl::FunctionRef<void(Tracer&)> body,
                       Location where) {
  TraceRecorder::AddTrace(recording_, {nullptr, std::exchange(label_, ""), options}, nullptr, body,
                          where);
}

}  // namespace weft
