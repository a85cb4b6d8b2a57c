#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/graph/checker.h"
#include "engine/graph/text.h"
#include "engine/graph/uses.h"

namespace weft::graph {
namespace {

/// True for containers whose values are not seen outside them.
bool HidesValues(const Node& node) {
  return std::holds_alternative<Sweep>(node.kind) || std::holds_alternative<Steps>(node.kind) ||
         std::holds_alternative<Branch>(node.kind);
}

/// How a container is called in an error.
std::string ContainerName(const Node& node) {
  if (std::holds_alternative<Trace>(node.kind)) return "trace";
  if (std::holds_alternative<Sweep>(node.kind)) return "sweep";
  if (std::holds_alternative<Invoke>(node.kind)) return "invoke";
  if (std::holds_alternative<Backward>(node.kind)) return "`backward`";
  if (std::holds_alternative<Steps>(node.kind)) return "`steps`";
  if (std::holds_alternative<If>(node.kind)) return "`if`";
  return "branch";
}

}  // namespace

bool Checker::CheckPlace() {
  if (std::holds_alternative<Trace>(node_->kind)) return CheckTracePlace();
  if (id_ == 1) return Fail("a program begins with its trace");
  const NodeId parent = node_->parent;
  if (parent == kNoNode || parent >= id_) {
    return Fail(absl::StrCat("node ", id_, " has the parent ", parent,
                             ", which is not a container before it"));
  }
  if (!IsContainer(program_.at(parent))) {
    return Fail(
        absl::StrCat("node ", id_, " stands inside node ", parent, ", which is not a container"));
  }
  if (!open_[parent]) {
    const std::string name = ContainerName(program_.at(parent));
    return Fail(absl::StrCat("the statements of one ", name, " must stand together, and the ", name,
                             " of node ", parent, " has ended"));
  }
  while (frames_.back().id != parent) {
    if (!Leave()) return false;
  }
  scopes_[id_] = HidesValues(program_.at(parent)) ? parent : scopes_[parent];
  Frame& frame = frames_.back();
  if (!CheckNothingRunsBefore(frame) || !CheckParent(parent)) return false;
  if (!std::holds_alternative<RegionResult>(node_->kind)) ended_ = kNoNode;
  if (!std::holds_alternative<Carry>(node_->kind)) frame.empty = false;
  return !IsContainer(*node_) || Enter();
}

bool Checker::CheckTracePlace() {
  if (node_->parent != kNoNode) return Fail("a trace stands inside another node");
  while (!frames_.empty()) {
    if (!Leave()) return false;
  }
  if (stop_ != kNoNode) return CheckNothingRunsBefore({});
  return Enter();
}

bool Checker::CheckNothingRunsBefore(const Frame& frame) {
  if (frame.yield != kNoNode) return Fail("this stands after `yield`, which ends its region");
  const NodeId stop = stop_ != kNoNode ? stop_ : frame.stop;
  if (stop == kNoNode) return true;
  // What the region would have yielded says what the other branch yields.
  if (std::holds_alternative<Yield>(node_->kind) && program_.at(stop).parent == node_->parent) {
    return true;
  }
  return Fail("this is written after `stop` and would never run",
              "move it before `stop`, or remove it");
}

bool Checker::Enter() {
  if (frames_.size() >= kMaxDepth) {
    return Fail(absl::StrCat("containers nest deeper than ", kMaxDepth));
  }
  frames_.push_back({.id = id_});
  open_[id_] = true;
  return true;
}

bool Checker::CheckParent(NodeId parent) {
  Frame& frame = frames_.back();
  if (const auto* branch = std::get_if<Branch>(&node_->kind)) return CheckBranch(*branch, frame);
  if (Is<If>(parent)) return Fail("this stands in an `if`, outside of its branches");
  if (Is<Trace>(parent) || Is<Sweep>(parent)) return CheckStandsIn(parent);
  if (std::holds_alternative<Invoke>(node_->kind)) {
    return Fail("an invoke stands in its trace, or in a sweep of it");
  }
  if (std::holds_alternative<Sweep>(node_->kind)) {
    return Fail("a sweep stands in its trace, around invokes");
  }
  if (const auto* carry = std::get_if<Carry>(&node_->kind)) return CheckCarry(*carry, frame);
  if (const auto* yield = std::get_if<Yield>(&node_->kind)) return CheckYield(*yield, frame);
  if (const auto* result = std::get_if<RegionResult>(&node_->kind)) return CheckResult(*result);
  if (Is<Backward>(parent)) return CheckInBackward();
  if (std::holds_alternative<GradRead>(node_->kind) ||
      std::holds_alternative<GradWrite>(node_->kind)) {
    return Fail("a gradient is read and written inside `backward %loss { ... }`");
  }
  if (std::holds_alternative<Steps>(node_->kind)) return CheckStepsPlace(parent);
  if (std::holds_alternative<Backward>(node_->kind) && Is<Steps>(parent)) {
    return Fail("`backward` cannot stand inside `steps`: a generation keeps no graph",
                "go backwards in a trace of its own, over the tokens that were generated");
  }
  if (std::holds_alternative<Backward>(node_->kind) && Is<Branch>(parent)) {
    return Fail("`backward` cannot stand inside an `if`",
                "write it after the `if`, from a loss that the branches yield");
  }
  if (std::holds_alternative<Cache>(node_->kind) && Is<Branch>(parent)) {
    return Fail("a cache cannot stand inside an `if`: what it takes is chosen before the pass",
                "cache before the `if`, or save what is needed inside it");
  }
  if (std::holds_alternative<Stop>(node_->kind)) {
    (Is<Branch>(parent) ? frame.stop : stop_) = id_;
  }
  return true;
}

bool Checker::CheckStandsIn(NodeId parent) {
  Frame& place = frames_.back();
  if (const auto* invoke = std::get_if<Invoke>(&node_->kind)) {
    if (!std::holds_alternative<Invoke::AllRows>(invoke->input)) {
      place.has_rows = true;
    } else if (place.all_rows == kNoNode) {
      place.all_rows = id_;
    }
    return true;
  }
  if (Is<Sweep>(parent)) {
    if (std::holds_alternative<Sweep>(node_->kind)) {
      return Fail("a sweep stands inside another", "give one sweep the parameters of both");
    }
    return Fail("a sweep encloses invokes alone", "write constants before it");
  }
  if (std::holds_alternative<Sweep>(node_->kind) || std::holds_alternative<Constant>(node_->kind)) {
    return true;
  }
  return Fail("this stands outside an invoke; only constants may");
}

bool Checker::CheckInBackward() {
  const char* refused = nullptr;
  if (std::holds_alternative<Read>(node_->kind)) {
    refused = "a site is read before `backward`, not inside it: the forward is over there";
  } else if (std::holds_alternative<Write>(node_->kind)) {
    refused = "a site is written before `backward`, not inside it: the forward is over there";
  } else if (std::holds_alternative<Skip>(node_->kind)) {
    refused = "a module is skipped before `backward`, not inside it: the forward is over there";
  } else if (std::holds_alternative<Cache>(node_->kind)) {
    refused = "a cache stands before `backward`, not inside it: the forward is over there";
  } else if (std::holds_alternative<Stop>(node_->kind)) {
    refused = "`stop` stands after `backward`";
  } else if (std::holds_alternative<Backward>(node_->kind)) {
    refused = "a `backward` stands inside another; write them one after the other";
  } else if (std::holds_alternative<Steps>(node_->kind)) {
    refused = "`steps` cannot stand inside `backward`";
  } else if (std::holds_alternative<If>(node_->kind)) {
    refused = "an `if` cannot stand inside `backward`; choose before it, or with aten::where";
  }
  return refused == nullptr || Fail(refused);
}

bool Checker::CheckStepsPlace(NodeId parent) {
  if (!Is<Invoke>(parent)) {
    return Is<Steps>(parent) ? Fail("`steps` cannot stand inside `steps`",
                                    "choose the steps of both in one, or use `if`")
                             : Fail("`steps` stand in an invoke, not inside an `if`",
                                    "put the `if` inside the steps");
  }
  const auto& trace = std::get<Trace>(program_.at(frames_[0].id).kind);
  return trace.generate != nullptr ||
         Fail("`steps` stand in a generation: this trace runs the model once",
              "begin the trace with `generate max_new_tokens=N`");
}

bool Checker::CheckBranch(const Branch& branch, Frame& frame) {
  if (!Is<If>(frame.id)) return Fail("a branch stands in its `if`");
  if (branch.otherwise != (frame.branches == 1) || frame.branches > 1) {
    return Fail("an `if` has one branch, and after it at most one `else`");
  }
  ++frame.branches;
  return true;
}

bool Checker::CheckCarry(const Carry& carry, Frame& frame) {
  if (!Is<Steps>(frame.id)) return Fail("a carry stands directly in `steps`");
  const size_t carries = std::get<Steps>(program_.at(frame.id).kind).initial.size();
  if (carry.index >= carries) {
    return Fail(
        absl::StrCat("this is carry ", carry.index, " of steps that carry ", carries, " values"));
  }
  if (!frame.empty || carry.index != frame.carries) {
    return Fail("`steps` begin with their carries, one for each initial value, in order");
  }
  ++frame.carries;
  return true;
}

bool Checker::CheckYield(const Yield& yield, Frame& frame) {
  if (!Is<Steps>(frame.id) && !Is<Branch>(frame.id)) {
    return Fail("`yield` ends `steps` or a branch of an `if`");
  }
  frame.yield = id_;
  if (yield.values.empty()) return Fail("`yield` needs at least one value");
  if (Is<Branch>(frame.id)) {
    Frame& choice = frames_[frames_.size() - 2];
    choice.yielded[choice.branches - 1] = yield.values.size();
    return true;
  }
  const size_t carries = std::get<Steps>(program_.at(frame.id).kind).initial.size();
  if (yield.values.size() == carries) return true;
  return Fail(absl::StrCat("these steps carry ", carries, " values, and ", yield.values.size(),
                           " are yielded"),
              "yield the next value of each carry, in order");
}

bool Checker::CheckResult(const RegionResult& result) {
  const bool region = result.region != kNoNode && result.region < id_ &&
                      (Is<Steps>(result.region) || Is<If>(result.region));
  if (!region) {
    return Fail(absl::StrCat("this is a result of node ", result.region,
                             ", which is not a region before it"));
  }
  if (result.region != ended_ || result.index != next_result_) {
    return Fail("the results of a region stand right after it, in order");
  }
  if (result.index >= ended_values_) {
    return Fail(absl::StrCat("this is result ", result.index, " of a region that yields ",
                             ended_values_, " values"));
  }
  ++next_result_;
  return true;
}

bool Checker::Leave() {
  const Frame frame = frames_.back();
  frames_.pop_back();
  open_[frame.id] = false;
  ended_ = kNoNode;
  next_result_ = 0;
  if (Is<Trace>(frame.id)) return CheckRows(frame, "the trace has no invoke");
  if (Is<Steps>(frame.id)) return LeaveSteps(frame);
  if (Is<If>(frame.id)) return LeaveIf(frame);
  if (!Is<Sweep>(frame.id)) return true;
  sweep_ = kNoNode;
  parameters_.clear();
  parameter_names_.clear();
  frames_.back().sweeps = true;
  return CheckRows(frame, "a sweep encloses at least one invoke");
}

bool Checker::CheckRows(const Frame& frame, const std::string& none) {
  if (frame.has_rows || (frame.sweeps && frame.all_rows == kNoNode)) return true;
  if (frame.all_rows == kNoNode) return FailAt(frame.id, none);
  return FailAt(frame.all_rows,
                absl::StrCat("`invoke { }` sees the rows of the other invokes of its ",
                             ContainerName(program_.at(frame.id)), ", and there are none"),
                "add an invoke with an input there");
}

bool Checker::LeaveSteps(const Frame& frame) {
  const size_t carries = std::get<Steps>(program_.at(frame.id).kind).initial.size();
  if (frame.carries != carries) {
    return FailAt(frame.id,
                  "`steps` begin with their carries, one for each initial value, in order");
  }
  if (carries > 0 && frame.yield == kNoNode) {
    return FailAt(
        frame.id,
        absl::StrCat("these steps carry ", carries, " values and do not end with `yield`"),
        "yield the next value of each carry, in order");
  }
  ended_ = frame.id;
  ended_values_ = carries;
  return true;
}

bool Checker::LeaveIf(const Frame& frame) {
  if (frame.branches == 0) return FailAt(frame.id, "this `if` has no branch");
  if (frame.yielded[0] != frame.yielded[1]) {
    return FailAt(frame.id,
                  absl::StrCat("both sides of an `if` yield the same number of values: here ",
                               frame.yielded[0], " and ", frame.yielded[1]),
                  frame.branches == 1 ? "add `else { ... yield ... }`" : "");
  }
  ended_ = frame.id;
  ended_values_ = frame.yielded[0];
  return true;
}

bool Checker::CheckUses() {
  bool good = true;
  ForEachUse(*node_, [&](NodeId used) {
    if (!good) return;
    if (used == kNoNode || used > program_.nodes.size()) {
      good = Fail(absl::StrCat("this uses node ", used, ", which does not exist"));
      return;
    }
    if (used >= id_) {
      good = Fail(absl::StrCat("this uses node ", used, " before it exists"));
      return;
    }
    if (!YieldsValue(program_.at(used))) {
      good = Fail(
          absl::StrCat("this uses `", PrintStatement(program_, used), "`, which yields no value"));
      return;
    }
    const NodeId scope = scopes_[used];
    if (scope == kNoNode || open_[scope]) return;
    const bool sweep = Is<Sweep>(scope);
    good = Fail(absl::StrCat("this uses `", PrintStatement(program_, used), "`, which is made ",
                             sweep              ? "in a sweep"
                             : Is<Steps>(scope) ? "inside `steps`"
                                                : "in a branch of an `if`",
                             " and not seen outside it"),
                sweep ? "of a sweep only its saves are seen outside it"
                      : "`yield` it, and name what the region yields");
  });
  return good;
}

bool Checker::Exclusive(NodeId a, NodeId b) const {
  // Up from both, from the larger id first: a container's is smaller than what stands inside it.
  NodeId below_a = kNoNode;
  NodeId below_b = kNoNode;
  while (a != b) {
    NodeId& inner = a > b ? a : b;
    (a > b ? below_a : below_b) = inner;
    inner = program_.at(inner).parent;
  }
  return a != kNoNode && Is<If>(a) && below_a != kNoNode && below_b != kNoNode;
}

}  // namespace weft::graph
