#include "engine/plan/skip_check.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"
#include "engine/plan/finish_plan.h"

namespace weft::plan {
namespace {

bool Meet(const Plan& plan, int a, int b) {
  const int trace = a / kStageKeys;
  if (trace != b / kStageKeys || a == FirstKey(trace) || b == FirstKey(trace)) return false;
  const std::vector<Selection>& regions = plan.traces[trace].regions;
  const Selection &one = regions[a - FirstKey(trace) - 1],
                  &other = regions[b - FirstKey(trace) - 1];
  for (int64_t step = 1; step < plan.traces[trace].steps; ++step) {
    if (one.Has(step) && other.Has(step)) return true;
  }
  return false;
}

/// Statements of one kind, by the rows that they are about.
template <typename What>
class ByRows {
 public:
  void Add(const Plan& plan, int invoke, const What* what) {
    all_.push_back(what);
    (plan.invokes[invoke].all_rows ? of_all_rows_ : of_invoke_[invoke]).push_back(what);
  }
  /// Those about rows of `invoke`.
  std::vector<const What*> For(const Plan& plan, int invoke) const {
    if (plan.invokes[invoke].all_rows) return all_;
    std::vector<const What*> found = of_all_rows_;
    const auto own = of_invoke_.find(invoke);
    if (own != of_invoke_.end()) found.insert(found.end(), own->second.begin(), own->second.end());
    return found;
  }

 private:
  std::vector<const What*> all_, of_all_rows_;
  std::map<int, std::vector<const What*>> of_invoke_;
};

/// Of a trace, or of a sweep's point in it: other rows are apart.
struct Group {
  ByRows<SkipCheck::Skip> skips;
  ByRows<SkipCheck::Touch> touches;
};

}  // namespace

bool ShareRows(const Plan& plan, int a, int b) {
  if (plan.invokes[a].trace != plan.invokes[b].trace ||
      plan.invokes[a].group != plan.invokes[b].group) {
    return false;
  }
  return a == b || plan.invokes[a].all_rows || plan.invokes[b].all_rows;
}

bool SkipCheck::SamePass(const Plan& plan, int a, int b) {
  if (a == b) return true;
  const auto [known, added] = meet_.try_emplace(std::minmax(a, b), false);
  if (added) known->second = Meet(plan, a, b);
  return known->second;
}

absl::Status SkipCheck::CheckWhole(const graph::Program& program, const ModelSpec& model,
                                   Plan& plan) const {
  const auto check = [&](graph::NodeId node, int site, int invoke) -> absl::Status {
    if (!model.sites()[site].whole) return absl::OkStatus();
    plan.alone = true;
    const std::vector<int>& others = plan.traces[plan.invokes[invoke].trace].invokes;
    const auto invokes = std::count_if(others.begin(), others.end(),
                                       [&](int other) { return !plan.invokes[other].all_rows; });
    if (invokes < 2) return absl::OkStatus();
    return graph::StatementError(
        absl::StatusCode::kInvalidArgument, program, node,
        absl::StrCat("`", graph::ToString(model.sites()[site].site),
                     "` cannot be told apart by invokes, and this trace has ", invokes),
        "give the invoke a trace of its own");
  };
  absl::Status status;
  for (size_t i = 0; status.ok() && i < touched_.size(); ++i) {
    status = check(touched_[i].node, touched_[i].site, touched_[i].invoke);
  }
  for (size_t i = 0; status.ok() && i < skips_.size(); ++i) {
    status = check(skips_[i].node, skips_[i].input, skips_[i].invoke);
    if (status.ok()) status = check(skips_[i].node, skips_[i].output, skips_[i].invoke);
  }
  return status;
}

absl::Status SkipCheck::Check(const graph::Program& program, const ModelSpec& model,
                              const Plan& plan) {
  const auto refuse = [&](graph::NodeId node, const std::string& message) {
    return graph::StatementError(absl::StatusCode::kInvalidArgument, program, node, message);
  };
  // What can meet at all: a sweep has many points with a few skips each.
  std::map<std::pair<int, int>, Group> groups;
  const auto group_of = [&](int invoke) -> Group& {
    return groups[{plan.invokes[invoke].trace, plan.invokes[invoke].group}];
  };
  for (const Touch& touch : touched_)
    group_of(touch.invoke).touches.Add(plan, touch.invoke, &touch);
  for (const Skip& skip : skips_) {
    Group& group = group_of(skip.invoke);
    for (const Skip* other : group.skips.For(plan, skip.invoke)) {
      const bool apart = skip.output < other->input || other->output < skip.input;
      if (apart || !SamePass(plan, skip.stage, other->stage)) continue;
      return refuse(skip.node, absl::StrCat("this skip overlaps with\n  ",
                                            graph::PrintStatement(program, other->node)));
    }
    group.skips.Add(plan, skip.invoke, &skip);
    for (const Touch* touch : group.touches.For(plan, skip.invoke)) {
      if (touch->site <= skip.input || touch->site >= skip.output ||
          !SamePass(plan, skip.stage, touch->stage)) {
        continue;
      }
      return refuse(
          touch->node,
          absl::StrCat("`", graph::ToString(model.sites()[touch->site].site),
                       "` is not visited, because it is inside a module that is skipped by\n  ",
                       graph::PrintStatement(program, skip.node)));
    }
  }
  return absl::OkStatus();
}

}  // namespace weft::plan
