#include "engine/graph/lint.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/text.h"
#include "engine/graph/uses.h"

namespace weft::graph {
namespace {

/// True for what may be meant for its effect alone: `add_`, but not `__and__`.
bool MayMutate(const Operator& op) {
  const size_t dot = op.name.find('.');
  const std::string base = op.name.substr(0, dot);
  return !base.empty() && base.back() == '_';
}

/// Which of a sweep's parameters are used.
using UsedParameters = absl::flat_hash_set<std::pair<NodeId, uint32_t>>;

void MarkArguments(const std::vector<Argument>& arguments, UsedParameters* used) {
  for (const Argument& argument : arguments) {
    if (const auto* use = std::get_if<SweepUse>(&argument.value)) {
      used->insert({use->sweep, use->parameter});
    }
    if (const auto* list = std::get_if<Argument::List>(&argument.value)) MarkArguments(*list, used);
  }
}

void MarkSlice(const Slice& slice, UsedParameters* used) {
  for (const auto& use : {slice.start_parameter, slice.stop_parameter}) {
    if (use) used->insert({use->sweep, use->parameter});
  }
}

void MarkTerms(const std::vector<IndexTerm>& terms, UsedParameters* used) {
  for (const IndexTerm& term : terms) {
    if (const auto* use = std::get_if<SweepUse>(&term)) {
      used->insert({use->sweep, use->parameter});
    }
    if (const auto* slice = std::get_if<Slice>(&term)) MarkSlice(*slice, used);
  }
}

void MarkSite(const Site& site, UsedParameters* used) {
  for (const PathParameter& parameter : site.parameters) {
    used->insert({parameter.use.sweep, parameter.use.parameter});
  }
}

void MarkParameters(const Node& node, UsedParameters* used) {
  if (const auto* invoke = std::get_if<Invoke>(&node.kind)) {
    const auto* swept = std::get_if<SweptPrompt>(&invoke->input);
    if (swept != nullptr) used->insert({swept->use.sweep, swept->use.parameter});
  }
  if (const auto* op = std::get_if<Operator>(&node.kind)) MarkArguments(op->arguments, used);
  if (const auto* call = std::get_if<Call>(&node.kind)) MarkArguments(call->arguments, used);
  if (const auto* made = std::get_if<Structure>(&node.kind)) MarkArguments(made->items, used);
  if (const auto* read = std::get_if<Read>(&node.kind)) MarkSite(read->site, used);
  if (const auto* index = std::get_if<Index>(&node.kind)) MarkTerms(index->terms, used);
  if (const auto* assign = std::get_if<Assign>(&node.kind)) MarkTerms(assign->index, used);
  if (const auto* steps = std::get_if<Steps>(&node.kind)) MarkSlice(steps->range, used);
  if (const auto* write = std::get_if<Write>(&node.kind)) {
    MarkSite(write->site, used);
    MarkTerms(write->index, used);
  }
}

/// The same for two visits of one site by the same rows in the same steps.
std::pair<NodeId, std::string> PlaceOf(const Program& program, NodeId id, const Site& site) {
  const NodeId steps = program.StepsOf(id);
  std::string text = ToString(site);
  for (const PathParameter& parameter : site.parameters) {
    absl::StrAppend(&text, " $", parameter.use.parameter);
  }
  return {steps != kNoNode ? steps : program.InvokeOf(id), std::move(text)};
}

}  // namespace

std::vector<Error> Lint(const Program& program) {
  std::vector<Error> warnings;
  const auto warn = [&](NodeId node, const std::string& message, const std::string& hint) {
    Error warning =
        FromStatus(StatementError(absl::StatusCode::kUnknown, program, node, message, hint));
    warning.code = absl::StatusCode::kOk;
    warnings.push_back(std::move(warning));
  };

  std::vector<bool> used(program.nodes.size() + 1, false);
  std::vector<bool> saves_inside(program.nodes.size() + 1, false);  // of sweeps
  UsedParameters parameters;
  absl::flat_hash_map<std::pair<NodeId, std::string>, std::vector<NodeId>> reads;
  std::vector<std::pair<NodeId, NodeId>> overtaken;  // a read, and the write after it
  bool saves = false;
  for (NodeId id = 1; id <= program.nodes.size(); ++id) {
    const Node& node = program.at(id);
    ForEachUse(node, [&](NodeId value) {
      if (value < used.size()) used[value] = true;
    });
    MarkParameters(node, &parameters);
    if (std::holds_alternative<Save>(node.kind) || std::holds_alternative<Cache>(node.kind)) {
      saves = true;
      saves_inside[program.SweepOf(id)] = true;
    }
    if (const auto* read = std::get_if<Read>(&node.kind)) {
      reads[PlaceOf(program, id, read->site)].push_back(id);
    }
    if (const auto* write = std::get_if<Write>(&node.kind)) {
      const auto found = reads.find(PlaceOf(program, id, write->site));
      if (found == reads.end()) continue;
      // What was used up to here is what the write is made from, or was plainly meant as it was.
      for (NodeId read : found->second) {
        if (!used[read]) overtaken.emplace_back(read, id);
      }
      reads.erase(found);
    }
  }
  for (const auto& [read, write] : overtaken) {
    if (!used[read]) continue;
    warn(read,
         absl::StrCat("this is written before `", PrintStatement(program, write),
                      "` and does not see it, though it is used only after it"),
         "read the site after the write if the new value is meant");
  }
  for (NodeId id = 1; id <= program.nodes.size(); ++id) {
    const Node& node = program.at(id);
    if (const auto* sweep = std::get_if<Sweep>(&node.kind)) {
      for (uint32_t i = 0; i < sweep->parameters.size(); ++i) {
        if (parameters.contains({id, i})) continue;
        warn(id, absl::StrCat("nothing uses the parameter %", sweep->parameters[i].name), "");
      }
      if (!saves_inside[id]) {
        warn(id, "nothing is saved in this sweep", "only the saves of a sweep are seen outside it");
      }
    }
    if (used[id] || !YieldsValue(node)) continue;
    const auto* op = std::get_if<Operator>(&node.kind);
    if (op != nullptr && MayMutate(*op)) continue;
    // Results have their place: one that is not used may stand before one that is.
    const bool result = std::holds_alternative<RegionResult>(node.kind);
    if (result && id < program.nodes.size() &&
        std::holds_alternative<RegionResult>(program.at(id + 1).kind)) {
      continue;
    }
    if (std::holds_alternative<Carry>(node.kind)) {
      warn(id, "no step reads this carry", "what the steps do not read need not be carried");
      continue;
    }
    warn(id, "nothing uses this value", "");
  }
  if (!saves && !program.nodes.empty()) {
    Error warning;
    warning.code = absl::StatusCode::kOk;
    warning.message = "the program saves nothing";
    warning.hint = "name what should come back with `save NAME = %value`";
    warnings.push_back(std::move(warning));
  }
  return warnings;
}

}  // namespace weft::graph
