#include "engine/graph/edited_program.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/text.h"

namespace weft::graph {
namespace {

// The input of a check: of a usual length, the shortest, and one that has every place.
constexpr uint64_t kUsualTokens = 16;
// A generation is planned for so many tokens at most, which a model may have in any case.
constexpr uint64_t kMostSteps = 4096;

/// How many steps an edit speaks of.
uint64_t StepsOf(const Program& edit) {
  uint64_t steps = 0;
  for (const Node& node : edit.nodes) {
    const auto* region = std::get_if<Steps>(&node.kind);
    if (region == nullptr) continue;
    int64_t last = region->range.start.value_or(0);
    for (int64_t step : region->list) last = std::max(last, step);
    // One more than the last, so that there is a step after the first.
    steps = std::max(steps, static_cast<uint64_t>(std::max<int64_t>(last, 0)) + 2);
  }
  return steps;
}

/// A program of one input of `tokens` tokens, that the edit can be applied to.
Program Probe(const Program& edit, uint64_t tokens, uint64_t steps) {
  Program probe;
  Node trace;
  trace.kind = std::get<Trace>(edit.at(1).kind);
  if (steps > 0) {
    std::get<Trace>(trace.kind).generate = std::make_shared<const GenerateOptions>(
        GenerateOptions{.max_new_tokens = static_cast<uint32_t>(steps)});
  }
  probe.nodes.push_back(std::move(trace));
  Node invoke;
  invoke.parent = 1;
  invoke.kind = Invoke{Invoke::Tokens{{std::vector<int64_t>(tokens, 0)}}};
  probe.nodes.push_back(std::move(invoke));
  return probe;
}

/// Whether an error may be one of this input alone.
bool IsOfInput(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
         absl::IsOutOfRange(status) || absl::IsResourceExhausted(status);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const EditedProgram>> EditedProgram::Make(
    Program program, std::vector<NamedProgram> edits, const ProgramLimits& limits) {
  std::shared_ptr<EditedProgram> edited(new EditedProgram(std::move(program), std::move(edits)));
  std::vector<Edit> applied;
  for (const NamedProgram& edit : edited->edits_) applied.push_back({edit.name, &edit.program});
  absl::StatusOr<Program> merged = ApplyEdits(edited->program_, applied, limits, &edited->origins_);
  if (!merged.ok()) return merged.status();
  edited->applied_ = *std::move(merged);
  return edited;
}

std::vector<std::string> EditedProgram::names() const {
  std::vector<std::string> names;
  for (const NamedProgram& edit : edits_) names.push_back(edit.name);
  return names;
}

NodeId EditedProgram::Before(NodeId node) const {
  if (node == kNoNode || node > origins_.size()) return kNoNode;
  const Origin& origin = origins_[node - 1];
  return origin.edit == 0 ? origin.node : kNoNode;
}

NodeId EditedProgram::OfEdit(NodeId node) const {
  if (node == kNoNode || node > origins_.size()) return kNoNode;
  const Origin& origin = origins_[node - 1];
  return origin.edit == 1 ? origin.node : kNoNode;
}

Error EditedProgram::Explain(Error error) const {
  if (error.node == kNoNode || error.node > origins_.size()) return error;
  const Origin& origin = origins_[error.node - 1];
  if (origin.edit == 0) {
    error.node = origin.node;
    error.statement = PrintStatement(program_, origin.node);
    return error;
  }
  const NamedProgram& edit = edits_[origin.edit - 1];
  error.node = kNoNode;
  error.statement = PrintStatement(edit.program, origin.node);
  error.message = absl::StrCat("edit `", edit.name, "`: ", error.message);
  return error;
}

absl::Status EditedProgram::Explain(const absl::Status& status) const {
  const Error error = FromStatus(status);
  if (error.node == kNoNode) return status;
  absl::Status explained = ToStatus(Explain(error));
  // What else the status carries, such as a limit's name, stays.
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    if (!explained.GetPayload(url).has_value()) explained.SetPayload(url, payload);
  });
  return explained;
}

absl::Status CheckEditFits(const std::string& name, const Program& edit, uint32_t tokens,
                           uint64_t max_tokens, const ProgramLimits& limits,
                           absl::FunctionRef<absl::Status(const Program&)> plan) {
  if (absl::Status checked = CheckEdit(name, edit, limits); !checked.ok()) return checked;
  const uint64_t wanted_steps = std::min(StepsOf(edit), kMostSteps);
  std::vector<uint64_t> lengths = {tokens};
  if (tokens == 0) {
    // Room is left for the steps: those that no position is left for would not be looked at.
    const uint64_t later = wanted_steps > 0 ? wanted_steps - 1 : 0;
    const uint64_t most = max_tokens > later + 1 ? max_tokens - later : 1;
    lengths = {std::min(kUsualTokens, most), 1, most};
  }
  absl::Status first;
  for (const uint64_t length : lengths) {
    if (length > std::max<uint64_t>(max_tokens, 1)) {
      return absl::InvalidArgumentError(absl::StrCat("edit `", name, "` cannot be checked on ",
                                                     length, " tokens: an input there has at most ",
                                                     max_tokens));
    }
    // The last new token is chosen, and takes no position.
    const uint64_t steps = std::min(wanted_steps, std::max<uint64_t>(max_tokens, 1) - length + 1);
    absl::StatusOr<std::shared_ptr<const EditedProgram>> edited =
        EditedProgram::Make(Probe(edit, length, steps), {{name, edit}}, limits);
    absl::Status fits = edited.ok() ? plan((*edited)->program()) : edited.status();
    if (fits.ok()) return fits;
    if (edited.ok()) {
      // What the edit's statement is called in the program that runs is nothing to its writer.
      Error error = FromStatus(fits);
      const NodeId node = (*edited)->OfEdit(error.node);
      if (node != kNoNode) {
        error.node = node;
        error.statement = PrintStatement(edit, node);
        error.source = edit.at(node).source;
        error.message = absl::StrCat("edit `", name, "`: ", error.message);
        fits = ToStatus(error);
      }
    }
    if (!IsOfInput(fits)) return fits;
    if (first.ok()) first = fits;
  }
  if (tokens != 0) return first;
  Error error = FromStatus(first);
  absl::StrAppend(&error.hint, error.hint.empty() ? "" : "; ", "it was checked on inputs of ",
                  lengths[0], ", 1 and ", lengths[2],
                  " tokens: say of how many, if it is for another length alone");
  return ToStatus(error);
}

}  // namespace weft::graph
