#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"
#include "engine/plan/finish_plan.h"
#include "engine/plan/plan_builder.h"
#include "engine/plan/planner.h"

namespace weft::plan {

int PlanBuilder::SaveOf(const std::string& name, const std::optional<graph::Site>& entry,
                        bool keep) {
  std::string key = absl::StrCat(name, " ", point_ ? absl::StrCat(*point_) : "");
  if (entry) absl::StrAppend(&key, " ", graph::ToString(*entry));
  const auto [it, added] = save_index_.try_emplace(key, static_cast<int>(plan_.saves.size()));
  if (!added) return it->second;
  PlannedSave save;
  save.name = name;
  save.node = node_;
  save.invoke = InvokeIndex();
  save.point = point_;
  save.steps = selection_;
  save.keep = keep;
  save.entry = entry;
  plan_.saves.push_back(std::move(save));
  return it->second;
}

template <typename What>
void PlanBuilder::EmitSave(What what, const When& when) {
  const When done = Guarded(when);
  EmitEffect(std::move(what), done);
  auto [latest, added] = effects_.try_emplace(done.stage, done);
  if (!added) latest->second.Add(done);
}

absl::Status PlanBuilder::CheckNotAfter(const When& when) const {
  if (!selection_ || Guarded(when).stage != AfterKey(trace_)) return absl::OkStatus();
  return Refuse("this needs a value that is there only after the last step",
                "write it outside of the steps");
}

absl::Status PlanBuilder::Add(const graph::Save& save) {
  absl::StatusOr<Slot> value = Current(static_cast<int>(save.value));
  if (!value.ok()) return value.status();
  const int index = SaveOf(save.name, std::nullopt, save.keep);
  if (plan_.saves[index].keep != save.keep) {
    return Refuse(absl::StrCat("`", save.name, "` is kept on the server in one branch alone"),
                  "keep it in both, or under another name");
  }
  When when = Start();
  when.Add(WhenOf(*value));
  if (absl::Status status = CheckNotAfter(when); !status.ok()) return status;
  EmitSave(SaveValue{index, *value, save.dtype, DimensionsByData(*value)}, when);
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Log& log) {
  absl::StatusOr<Slot> value = Current(static_cast<int>(log.value));
  if (!value.ok()) return value.status();
  When when = Start();
  when.Add(WhenOf(*value));
  if (absl::Status status = CheckNotAfter(when); !status.ok()) return status;
  EmitSave(LogValue{log.label, *value}, when);
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Stop&) {
  if (guard_ < 0 && !selection_) {
    stops_ = true;
    return absl::OkStatus();
  }
  // Once what is written before it is done.
  When when = Start();
  for (const auto& [stage, latest] : effects_) {
    if (stage == stage_) when.Add(latest);
    if (stage / kStageKeys != trace_) continue;
    if (selection_) {
      // Of other regions in the steps that both have.
      if (!OfLaterSteps(stage) || !OfLaterSteps(stage_)) continue;
      When other = latest;
      other.stage = stage_;
      when.Add(other);
      continue;
    }
    if (stage <= stage_) continue;
    // Written before it, and there only in later steps, or after the last one.
    when.Add(stage == AfterKey(trace_) ? latest : When{.stage = AfterKey(trace_)});
  }
  if (absl::Status status = CheckNotAfter(when); !status.ok()) return status;
  EmitEffect(StopRun{}, Guarded(when));
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Cache& cache) {
  std::vector<bool> wanted(model_.modules().size(), cache.modules.empty());
  for (const std::string& path : cache.modules) {
    const int module = model_.FindModule(path);
    if (module < 0) {
      return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                   absl::StrCat("the model has no module `", path, "`"),
                                   model_.Suggest(path));
    }
    if (Trace().root != 0) {
      absl::StatusOr<int> inside = FindSite({path});
      if (!inside.ok()) return inside.status();
    }
    wanted[module] = true;
  }
  std::vector<int> sites;
  for (size_t site = 0; site < model_.sites().size(); ++site) {
    const SiteSpec& spec = model_.sites()[site];
    if (!wanted[spec.module] || !spec.site.op.empty()) continue;
    if (!InTrace(static_cast<int>(site))) continue;
    const bool input = spec.site.point == Point::kInput && cache.include_inputs;
    if (input || spec.site.point == Point::kOutput) sites.push_back(static_cast<int>(site));
  }
  const int invoke = InvokeIndex();
  const auto add = [&] {
    for (const int site : sites) {
      const int index = SaveOf(cache.name, model_.sites()[site].site);
      skips_.AddTouch({node_, site, invoke, stage_});
      EmitSave(SaveSite{index, invoke, cache.dtype}, AtSite(site));
      instructions_.back().late = true;
    }
  };
  if (!Trace().generates || selection_) {
    add();
    return absl::OkStatus();
  }
  // Of every step.
  selection_ = Selection();
  add();
  absl::StatusOr<int> region = RegionOf(Selection{.first = 1});
  if (region.ok()) {
    const int outside = std::exchange(stage_, RegionKey(trace_, *region));
    add();
    stage_ = outside;
  }
  selection_.reset();
  return region.status();
}

}  // namespace weft::plan
