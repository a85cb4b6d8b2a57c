#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/recording.h"
#include "client/src/recording_internal.h"
#include "engine/graph/hoist.h"
#include "engine/graph/renumber.h"
#include "engine/graph/uses.h"

namespace weft::internal {
namespace {

using graph::kNoNode;
using graph::NodeId;

}  // namespace

void Recording::NameSaves() {
  size_t caches = 0;
  for (size_t i = 0; i < saves_.size(); ++i) {
    auto& kind = program_.nodes[save_nodes_[i] - 1].kind;
    auto* cache = std::get_if<graph::Cache>(&kind);
    std::string name = cache == nullptr ? absl::StrCat("save", i) : absl::StrCat("cache", caches++);
    if (!saves_[i]->name.empty()) continue;
    while (save_names_.contains(name)) name += "_";
    save_names_[name].push_back(i);
    (cache == nullptr ? std::get<graph::Save>(kind).name : cache->name) = name;
    saves_[i]->name = std::move(name);
  }
}

void Recording::Arrange() {
  std::vector<graph::Node>& nodes = program_.nodes;
  // Containers and what stands in them, as written; carries first.
  std::vector<NodeId> order;
  order.reserve(nodes.size());
  std::vector<NodeId> waiting(children_[kNoNode].rbegin(), children_[kNoNode].rend());
  while (!waiting.empty()) {
    const NodeId id = waiting.back();
    waiting.pop_back();
    order.push_back(id);
    std::vector<NodeId>& children = children_[id];
    std::stable_partition(children.begin(), children.end(), [&nodes](NodeId child) {
      return std::holds_alternative<graph::Carry>(nodes[child - 1].kind);
    });
    waiting.insert(waiting.end(), children.rbegin(), children.rend());
  }

  std::vector<uint32_t> uses(nodes.size() + 1, 0);
  for (const graph::Node& node : nodes) {
    graph::ForEachUse(node, [&](NodeId used) { ++uses[used]; });
  }
  std::vector<bool> dropped(nodes.size() + 1, false);
  std::vector<bool> has_result(nodes.size() + 1, false);  // of a region: one is kept
  for (auto id = order.rbegin(); id != order.rend(); ++id) {
    // Results are counted from the first, so that one stays where a later one does.
    const auto* result = std::get_if<graph::RegionResult>(&nodes[*id - 1].kind);
    const bool needed = result != nullptr && has_result[result->region];
    if (notes_[*id - 1].droppable && uses[*id] == 0 && !needed) {
      dropped[*id] = true;
      graph::ForEachUse(std::as_const(nodes[*id - 1]), [&](NodeId used) { --uses[used]; });
    } else if (result != nullptr) {
      has_result[result->region] = true;
    }
  }

  std::vector<NodeId> renumbered(nodes.size() + 1, kNoNode);
  NodeId next = kNoNode;
  for (NodeId id : order) {
    if (!dropped[id]) renumbered[id] = ++next;
  }
  std::vector<graph::Node> kept;
  kept.reserve(next);
  for (NodeId id : order) {
    if (dropped[id]) continue;
    graph::Renumber(renumbered, &nodes[id - 1]);
    kept.push_back(std::move(nodes[id - 1]));
  }
  nodes = std::move(kept);
}

absl::StatusOr<Recorded> Recording::Finish() {
  CloseTo(0);
  Pop();
  if (children_[kNoNode].empty()) Fail("session", "the session has no trace", where_);
  for (NodeId trace : children_[kNoNode]) {
    const bool has_invoke =
        std::any_of(children_[trace].begin(), children_[trace].end(), [this](NodeId child) {
          const auto& kind = program_.at(child).kind;
          return std::holds_alternative<graph::Invoke>(kind) ||
                 std::holds_alternative<graph::Sweep>(kind);
        });
    if (has_invoke) continue;
    Fail("trace", "the trace has no invoke", WhereOf(trace),
         "call Invoke on the Tracer that the lambda is given");
  }
  if (failed_) {
    const absl::Status status = graph::ToStatus(error_);
    for (const auto& save : saves_) save->status = status;
    return status;
  }
  NameSaves();
  Arrange();
  graph::HoistConstants(&program_);
  return Recorded{Program(std::move(program_)), std::move(saves_)};
}

}  // namespace weft::internal
