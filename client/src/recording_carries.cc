#include <utility>

#include "absl/strings/str_cat.h"
#include "client/src/convert.h"
#include "client/src/recording.h"
#include "client/src/recording_internal.h"

// Carries are variables of the program. Where one is used inside `steps`, those steps carry it: its
// value from before is their initial one, and what it was set to last is yielded. Where one side of
// an If sets it, both yield it. So each use is of one node, as everywhere.

namespace weft::internal {
namespace {

using graph::kNoNode;
using graph::NodeId;

}  // namespace

bool Recording::IsCarry(const Var& value) const { return value.node_ >= kFirstCarry; }

Var Recording::AddCarry(const Operand& initial) {
  const NodeId value = Use(initial, "carry");
  if (value == kNoNode) return Poison();
  carries_.push_back({value, static_cast<NodeId>(program_.nodes.size() + 1)});
  return Var(serial_, kFirstCarry + static_cast<NodeId>(carries_.size() - 1));
}

Var Recording::CarryValue(const Var& carry) { return Var(serial_, Use(carry, "carry", where_)); }

void Recording::SetCarry(const Var& carry, const Operand& next) {
  const std::string statement = "carry";
  if (Use(carry, statement, next.where()) == kNoNode || !Open(statement, next.where())) return;
  const NodeId value = Use(next, statement);
  if (value != kNoNode) Set(carry.node_ - kFirstCarry, value, next.where());
}

bool Recording::Holds(const Frame& frame, const Variable& variable) {
  return (frame.region == Region::kSteps || frame.region == Region::kBranch) &&
         frame.node >= variable.before;
}

NodeId Recording::Resolve(uint32_t carry, Location where) {
  NodeId value = carries_[carry].value;
  for (Frame& frame : frames_) {
    if (!Holds(frame, carries_[carry])) continue;
    const auto found = frame.carries.find(carry);
    if (found != frame.carries.end()) {
      value = found->second;
    } else if (frame.region == Region::kSteps) {
      auto& steps = std::get<graph::Steps>(program_.nodes[frame.node - 1].kind);
      const auto index = static_cast<uint32_t>(steps.initial.size());
      steps.initial.push_back(value);
      value = Add(graph::Carry{index}, where, frame.node);
      frame.carries[carry] = value;
      frame.carried.push_back(carry);
    }
  }
  return value;
}

void Recording::Set(uint32_t carry, NodeId value, Location where) {
  // Steps around it carry it from here on.
  Resolve(carry, where);
  for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
    if (!Holds(*frame, carries_[carry])) continue;
    frame->carries[carry] = value;
    return;
  }
  carries_[carry].value = value;
}

void Recording::EndSteps() {
  const NodeId steps = frames_.back().node;
  const Location where = WhereOf(steps);
  if (!failed_ && frames_.back().number) {
    const uint32_t number = *frames_.back().number;
    const auto& kind = std::get<graph::Steps>(program_.at(steps).kind);
    const int64_t stride = kind.list.empty() ? kind.range.step.value_or(1) : 1;
    graph::Operator next{"aten::add", {{"", graph::NodeRef{Resolve(number, where)}}, {"", stride}}};
    Set(number, Add(std::move(next), where), where);
  }
  const Frame frame = std::move(frames_.back());
  frames_.pop_back();
  if (failed_ || frame.carried.empty()) return;
  graph::Yield yield;
  for (uint32_t carry : frame.carried) yield.values.push_back(frame.carries.at(carry));
  Add(std::move(yield), where, steps);
  for (uint32_t i = 0; i < frame.carried.size(); ++i) {
    Set(frame.carried[i], Add(graph::RegionResult{steps, i}, where, {.droppable = true}), where);
  }
}

Var Recording::StepNumber(Location where) {
  const std::string statement = "step.number";
  if (!Open(statement, where)) return Poison();
  Frame* frame = Find(Region::kSteps);
  if (frame == nullptr) {
    Fail(statement, "a step's number is there only inside of its `steps`", where);
    return Poison();
  }
  const NodeId steps = frame->node;
  const auto kind = std::get<graph::Steps>(program_.at(steps).kind);
  if (kind.range.start_parameter) {
    Fail(statement, "the number of a step whose first a sweep fills in is not known", where,
         "use the sweep's parameter, and a weft::Carry that counts");
    return Poison();
  }
  NodeId list = kNoNode;
  {
    const PlaceScope place(this, program_.at(steps).parent, steps);
    if (!kind.list.empty()) list = AddConstant(Tensor::From(kind.list), where);
    if (!frame->number) {
      const int64_t first = kind.list.empty() ? kind.range.start.value_or(0) : 0;
      frame->number = static_cast<uint32_t>(carries_.size());
      carries_.push_back({AddConstant(Tensor::Scalar(first), where), steps});
    }
  }
  const NodeId count = Resolve(*frame->number, where);
  if (kind.list.empty()) return Var(serial_, count);
  return AddValue(graph::Index{list, {graph::NodeRef{count}}}, where);
}

}  // namespace weft::internal
