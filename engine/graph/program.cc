#include "engine/graph/program.h"

#include "absl/strings/str_cat.h"

namespace weft::graph {
namespace {

const char* PointName(Point point) {
  switch (point) {
    case Point::kOutput:
      return "output";
    case Point::kInput:
      return "input";
    case Point::kResult:
      return "result";
    case Point::kIds:
      return "ids";
    case Point::kMask:
      return "mask";
    case Point::kPositions:
      return "positions";
    case Point::kRows:
      return "rows";
  }
  return "?";
}

}  // namespace

std::string ToString(const Site& site) {
  if (OfInvoke(site.point)) return PointName(site.point);
  std::string visit = site.visit == 0 ? "" : absl::StrCat("@", site.visit);
  return absl::StrCat(site.module, visit, ".", PointName(site.point));
}

NodeId Program::InvokeOf(NodeId id) const {
  // A parent comes before its child, so this ends even where the program was not checked.
  while (id != kNoNode && id <= nodes.size()) {
    const Node& node = at(id);
    if (std::holds_alternative<Invoke>(node.kind)) return id;
    if (node.parent >= id) break;
    id = node.parent;
  }
  return kNoNode;
}

NodeId Program::BackwardOf(NodeId id) const {
  const NodeId parent = at(id).parent;
  const bool inside =
      parent != kNoNode && parent < id && std::holds_alternative<Backward>(at(parent).kind);
  return inside ? parent : kNoNode;
}

bool YieldsValue(const Node& node) {
  return std::holds_alternative<Constant>(node.kind) || std::holds_alternative<Read>(node.kind) ||
         std::holds_alternative<Operator>(node.kind) || std::holds_alternative<Index>(node.kind) ||
         std::holds_alternative<Structure>(node.kind) || std::holds_alternative<Call>(node.kind) ||
         std::holds_alternative<Parameter>(node.kind) ||
         std::holds_alternative<GradRead>(node.kind);
}

}  // namespace weft::graph
