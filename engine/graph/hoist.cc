#include "engine/graph/hoist.h"

#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/graph/changes.h"
#include "engine/graph/renumber.h"

namespace weft::graph {
namespace {

/// Smaller ones are better read where they are used.
constexpr size_t kSmallest = 4096;

/// A tensor in a trace.
using Key = std::tuple<NodeId, const char*, DType, std::vector<int64_t>>;

}  // namespace

void HoistConstants(Program* program) {
  absl::flat_hash_map<Key, std::vector<NodeId>> places;
  const std::vector<bool> changed = MayBeChanged(*program);
  for (NodeId id = 1; id <= program->nodes.size(); ++id) {
    const auto* constant = std::get_if<Constant>(&program->at(id).kind);
    if (constant == nullptr || constant->tensor.bytes < kSmallest || changed[id]) continue;
    const HostTensor& tensor = constant->tensor;
    places[Key(program->TraceOf(id), tensor.data, tensor.dtype, tensor.shape)].push_back(id);
  }
  std::vector<NodeId> first(program->nodes.size() + 1, kNoNode);  // of those that stand once
  bool any = false;
  for (const auto& [key, ids] : places) {
    if (ids.size() < 2) continue;
    any = true;
    for (NodeId id : ids) first[id] = ids[0];
  }
  if (!any) return;

  std::vector<Node> nodes;
  nodes.reserve(program->nodes.size());
  std::vector<NodeId> to(program->nodes.size() + 1, kNoNode);
  std::vector<NodeId> hoisted;
  for (NodeId id = 1; id < first.size(); ++id) {
    if (first[id] == id) hoisted.push_back(id);
  }
  size_t next = 0;  // of hoisted, which are in order of their traces
  for (NodeId id = 1; id <= program->nodes.size(); ++id) {
    if (first[id] != kNoNode) {
      to[id] = to[first[id]];
      continue;
    }
    Node node = std::move(program->nodes[id - 1]);
    Renumber(to, &node);
    const bool trace = std::holds_alternative<Trace>(node.kind);
    nodes.push_back(std::move(node));
    to[id] = static_cast<NodeId>(nodes.size());
    if (!trace) continue;
    // Its constants follow it, up to the next trace.
    NodeId end = id + 1;
    while (end <= program->nodes.size() &&
           !std::holds_alternative<Trace>(program->nodes[end - 1].kind)) {
      ++end;
    }
    for (; next < hoisted.size() && hoisted[next] < end; ++next) {
      Node constant = std::move(program->nodes[hoisted[next] - 1]);
      constant.parent = to[id];
      nodes.push_back(std::move(constant));
      to[hoisted[next]] = static_cast<NodeId>(nodes.size());
    }
  }
  program->nodes = std::move(nodes);
}

}  // namespace weft::graph
