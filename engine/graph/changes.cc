#include "engine/graph/changes.h"

#include "absl/container/flat_hash_map.h"
#include "engine/graph/uses.h"

namespace weft::graph {

bool IsInPlace(const std::string& op) {
  const std::string base = op.substr(0, op.find('.'));
  return base.size() > 2 && base.back() == '_' && base[base.size() - 2] != '_';
}

std::vector<bool> MayBeChanged(const Program& program) {
  std::vector<bool> changed(program.nodes.size() + 1, false);
  std::vector<NodeId> waiting;
  const auto mark = [&](NodeId id) {
    if (id == kNoNode || id >= changed.size() || changed[id]) return;
    changed[id] = true;
    waiting.push_back(id);
  };
  for (const Node& node : program.nodes) {
    if (const auto* assign = std::get_if<Assign>(&node.kind)) mark(assign->target);
    const auto* op = std::get_if<Operator>(&node.kind);
    if (op == nullptr || op->arguments.empty() || !IsInPlace(op->name)) continue;
    if (const auto* target = std::get_if<NodeRef>(&op->arguments[0].value)) mark(target->id);
  }
  absl::flat_hash_map<NodeId, std::vector<const Yield*>> yields;  // of a region
  for (const Node& node : program.nodes) {
    const auto* yield = std::get_if<Yield>(&node.kind);
    if (yield == nullptr) continue;
    const Node& parent = program.at(node.parent);
    yields[std::holds_alternative<Branch>(parent.kind) ? parent.parent : node.parent].push_back(
        yield);
  }
  const auto mark_initial = [&](NodeId region, uint32_t index) {
    const auto* steps = std::get_if<Steps>(&program.at(region).kind);
    if (steps != nullptr && index < steps->initial.size()) mark(steps->initial[index]);
  };
  // What a value was made from may be what it is a view of; what a region gives is what it was
  // given, or yielded.
  while (!waiting.empty()) {
    const Node& node = program.at(waiting.back());
    waiting.pop_back();
    if (std::holds_alternative<Read>(node.kind)) continue;
    if (const auto* carry = std::get_if<Carry>(&node.kind)) {
      mark_initial(node.parent, carry->index);
    } else if (const auto* result = std::get_if<RegionResult>(&node.kind)) {
      mark_initial(result->region, result->index);
      for (const Yield* yield : yields[result->region]) {
        if (result->index < yield->values.size()) mark(yield->values[result->index]);
      }
    } else {
      ForEachUse(node, mark);
    }
  }
  return changed;
}

}  // namespace weft::graph
