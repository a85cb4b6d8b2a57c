#include "engine/plan/plan_cache.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace weft::plan {
namespace {

constexpr size_t kMaxInstructions = 1 << 20;
constexpr size_t kMaxChecks = 256;  // of one plan

/// Whether a plan is made for one set of token counts alone: how many dimensions a value has, or
/// whether its size is known before the run, is a part of the plan.
bool DependsOnCounts(const graph::Program& program) {
  const auto is_tensor = [](const graph::IndexTerm& term) {
    return std::holds_alternative<graph::NodeRef>(term);
  };
  return std::any_of(program.nodes.begin(), program.nodes.end(), [&](const graph::Node& node) {
    if (const auto* op = std::get_if<graph::Operator>(&node.kind)) {
      const auto name = absl::string_view(op->name).substr(0, op->name.find('.'));
      return name == "aten::index" || name == "aten::squeeze";
    }
    const auto* index = std::get_if<graph::Index>(&node.kind);
    return index != nullptr && std::any_of(index->terms.begin(), index->terms.end(), is_tensor);
  });
}

}  // namespace

absl::StatusOr<Planned> PlanCache::Get(const graph::Program& program,
                                       absl::Span<const RowCount> rows,
                                       absl::Span<const int64_t> points_per_pass,
                                       bool every_token) {
  std::string key = SignatureOf(program);
  if (every_token) absl::StrAppend(&key, "+");
  for (const int64_t points : points_per_pass) absl::StrAppend(&key, "/", points);
  std::vector<int64_t> counts;
  counts.reserve(rows.size() * 2);
  for (const RowCount& row : rows) {
    counts.push_back(row.batch);
    counts.push_back(row.tokens);
  }
  if (DependsOnCounts(program)) {
    for (const int64_t count : counts) absl::StrAppend(&key, ",", count);
  }
  Planned planned;
  PlanLimits limits;
  uint64_t generation;
  {
    absl::MutexLock lock(&mutex_);
    limits = limits_;
    generation = generation_;
    if (auto it = entries_.find(key); it != entries_.end()) {
      planned.plan = it->second.plan;
      if (auto check = it->second.checks.find(counts); check != it->second.checks.end()) {
        planned.check = check->second;
        ++hits_;
        return planned;
      }
    }
  }
  // Planning is done without the lock: two of the same kind at once plan twice, and one is kept.
  if (planned.plan == nullptr) {
    absl::StatusOr<Plan> plan = MakePlan(program, model_, rows, points_per_pass, every_token);
    if (!plan.ok()) return plan.status();
    planned.plan = std::make_shared<const Plan>(*std::move(plan));
  }
  absl::StatusOr<PlanCheck> check = CheckPlan(*planned.plan, program, model_, rows, limits);
  if (!check.ok()) return check.status();
  planned.check = std::make_shared<const PlanCheck>(*std::move(check));

  absl::MutexLock lock(&mutex_);
  ++misses_;
  if (generation != generation_) return planned;  // good for this time alone
  if (instructions_ > kMaxInstructions) {
    entries_.clear();
    instructions_ = 0;
  }
  auto [it, added] = entries_.try_emplace(key);
  if (added) {
    it->second.plan = planned.plan;
    instructions_ += planned.plan->CountInstructions() + key.size() / 64 + 1;
  }
  // A check belongs to the plan that it was made from: slots are numbered alike in equal plans.
  if (it->second.checks.size() >= kMaxChecks) it->second.checks.clear();
  auto& kept = it->second.checks[std::move(counts)];
  if (kept == nullptr) instructions_ += 1 + planned.check->saves.size();
  kept = planned.check;
  return planned;
}

void PlanCache::SetLimits(const PlanLimits& limits) {
  absl::MutexLock lock(&mutex_);
  limits_ = limits;
  ++generation_;
  entries_.clear();
  instructions_ = 0;
}

uint64_t PlanCache::hits() const {
  absl::MutexLock lock(&mutex_);
  return hits_;
}

uint64_t PlanCache::misses() const {
  absl::MutexLock lock(&mutex_);
  return misses_;
}

}  // namespace weft::plan
