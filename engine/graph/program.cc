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
    case Point::kInputs:
      return "inputs";
    case Point::kQ:
      return "q";
    case Point::kK:
      return "k";
    case Point::kV:
      return "v";
    case Point::kScores:
      return "scores";
    case Point::kProbs:
      return "probs";
    case Point::kZ:
      return "z";
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
    case Point::kLogits:
      return "logits";
    case Point::kSamples:
      return "samples";
    case Point::kBeamScores:
      return "beam_scores";
  }
  return "?";
}

/// The innermost node of this kind around node `id`, or itself.
template <typename Kind>
NodeId Innermost(const Program& program, NodeId id) {
  // A parent comes before its child, so this ends even where the program was not checked.
  while (id != kNoNode && id <= program.nodes.size()) {
    const Node& node = program.at(id);
    if (std::holds_alternative<Kind>(node.kind)) return id;
    if (node.parent >= id) break;
    id = node.parent;
  }
  return kNoNode;
}

}  // namespace

std::string ToString(const Site& site) {
  if (OfInvoke(site.point)) return PointName(site.point);
  const std::string visit = site.visit == 0 ? "" : absl::StrCat("@", site.visit);
  const std::string op = site.op.empty() ? "" : absl::StrCat(".op(", site.op, ")");
  return absl::StrCat(site.module, visit, op, ".", PointName(site.point));
}

size_t SweepParameter::size() const {
  return std::visit([](const auto& list) { return list.size(); }, values);
}

size_t Program::InputsOf(NodeId invoke) const {
  const auto* swept = std::get_if<SweptPrompt>(&std::get<Invoke>(at(invoke).kind).input);
  if (swept == nullptr) return 1;
  return std::get<Sweep>(at(swept->use.sweep).kind).parameters[swept->use.parameter].size();
}

NodeId Program::InvokeOf(NodeId id) const { return Innermost<Invoke>(*this, id); }

NodeId Program::BackwardOf(NodeId id) const {
  if (id == kNoNode || id > nodes.size()) return kNoNode;
  const NodeId parent = at(id).parent;
  return parent < id ? Innermost<Backward>(*this, parent) : kNoNode;
}

NodeId Program::TraceOf(NodeId id) const { return Innermost<Trace>(*this, id); }
NodeId Program::StepsOf(NodeId id) const { return Innermost<Steps>(*this, id); }
NodeId Program::SweepOf(NodeId id) const { return Innermost<Sweep>(*this, id); }

bool YieldsValue(const Node& node) {
  return std::holds_alternative<Constant>(node.kind) || std::holds_alternative<Read>(node.kind) ||
         std::holds_alternative<Operator>(node.kind) || std::holds_alternative<Index>(node.kind) ||
         std::holds_alternative<Structure>(node.kind) || std::holds_alternative<Call>(node.kind) ||
         std::holds_alternative<Parameter>(node.kind) ||
         std::holds_alternative<GradRead>(node.kind) || std::holds_alternative<Carry>(node.kind) ||
         std::holds_alternative<RegionResult>(node.kind);
}

bool IsContainer(const Node& node) {
  return std::holds_alternative<Trace>(node.kind) || std::holds_alternative<Sweep>(node.kind) ||
         std::holds_alternative<Invoke>(node.kind) || std::holds_alternative<Backward>(node.kind) ||
         std::holds_alternative<Steps>(node.kind) || std::holds_alternative<If>(node.kind) ||
         std::holds_alternative<Branch>(node.kind);
}

}  // namespace weft::graph
