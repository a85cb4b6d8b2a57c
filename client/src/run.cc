#include "weft/run.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/convert.h"
#include "client/src/model_state.h"
#include "client/src/result_collector.h"
#include "client/src/trace_recorder.h"
#include "engine/graph/error.h"

namespace weft {

absl::StatusOr<Value> RunResult::Get(const std::string& name) const {
  if (const auto found = saves.find(name); found != saves.end()) return found->second;
  if (const auto found = missing.find(name); found != missing.end()) return found->second;
  return absl::NotFoundError(absl::StrCat("the trace saved nothing under the name ", name));
}

namespace internal {
namespace {

/// Of a save in a step that was named by its number: what it gave there. A list of one item, or of
/// such lists, one for each point of a sweep.
std::optional<Value> OnlyStep(const Value& value, bool points) {
  const auto* list = value.FindAs<Value::List>();
  if (list == nullptr) return value;
  if (!points) {
    if (list->items.empty()) return std::nullopt;
    return list->items[0];
  }
  Value::List items;
  for (const Value& point : list->items) {
    items.items.push_back(OnlyStep(point, false).value_or(Value()));
  }
  return Value(std::move(items));
}

bool InSweep(const graph::Program& program, const std::string& name) {
  for (graph::NodeId id = 1; id <= program.nodes.size(); ++id) {
    const auto* save = std::get_if<graph::Save>(&program.at(id).kind);
    if (save != nullptr && save->name == name) return program.SweepOf(id) != graph::kNoNode;
  }
  return false;
}

void FillIn(const graph::Program& program, const RunResult& result, const absl::Status& end,
            SaveState* save) {
  const auto saved = result.saves.find(save->name);
  const auto missing = result.missing.find(save->name);
  const bool is_missing = missing != result.missing.end();
  save->incomplete = is_missing ? missing->second : end;
  std::optional<Value> value;
  if (saved != result.saves.end()) value = saved->second;
  if (value && save->one_step) value = OnlyStep(*value, InSweep(program, save->name));
  if (value) {
    save->value = *std::move(value);
    save->status = absl::OkStatus();
  } else if (is_missing) {
    save->status = missing->second;
  } else if (!end.ok()) {
    save->status = end;
  } else {
    save->status = absl::InternalError(absl::StrCat("the run sent neither a value of save ",
                                                    save->name, " nor a reason why it has none"));
  }
}

/// Of several traces, an error says in which it is.
absl::Status InTrace(const graph::Program& program, const absl::Status& status) {
  if (status.ok()) return status;
  graph::Error error = graph::FromStatus(status);
  if (error.node == graph::kNoNode || error.node > program.nodes.size()) return status;
  const graph::NodeId trace = program.TraceOf(error.node);
  size_t number = 0, count = 0;
  for (graph::NodeId id = 1; id <= program.nodes.size(); ++id) {
    if (!std::holds_alternative<graph::Trace>(program.at(id).kind)) continue;
    ++count;
    if (id <= trace) number = count;
  }
  if (count < 2 || trace == graph::kNoNode) return status;
  const std::string& label = std::get<graph::Trace>(program.at(trace).kind).label;
  error.message =
      absl::StrCat("in trace ", number, " of ", count,
                   label.empty() ? "" : absl::StrCat(" (", label, ")"), ": ", error.message);
  return graph::ToStatus(error);
}

}  // namespace

absl::StatusOr<RunResult> RunProgram(const ModelState& model, const Program& program,
                                     const std::vector<std::shared_ptr<SaveState>>& saves,
                                     const TraceOptions& options) {
  const absl::StatusOr<Program> edited = model.WithEdits(program);
  if (!edited.ok()) {
    for (const std::shared_ptr<SaveState>& save : saves) save->status = edited.status();
    return edited.status();
  }
  const graph::Program& sent = edited->graph();
  for (const std::shared_ptr<SaveState>& save : saves) {
    save->status = absl::UnavailableError(absl::StrCat("save ", save->name, " has not come yet"));
  }
  ResultCollector collector(sent);
  const absl::Status status =
      InTrace(sent, model.backend->Run(model.description.summary.name, *edited,
                                       model.SettingsOf(options), [&](RunEvent event) {
                                         collector.Take(event);
                                         if (options.on_event) options.on_event(event);
                                       }));
  RunResult result = collector.Finish(status.ok());
  for (const auto& save : saves) FillIn(sent, result, status, save.get());
  if (!status.ok()) return status;
  return result;
}

absl::StatusOr<RunResult> RunRecorded(const ModelState& model,
                                      const absl::StatusOr<Recorded>& recorded,
                                      const TraceOptions& options) {
  if (!recorded.ok()) return recorded.status();
  return RunProgram(model, recorded->program, recorded->saves, options);
}

}  // namespace internal
}  // namespace weft
