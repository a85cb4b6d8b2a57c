#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"
#include "engine/plan/module_result.h"
#include "engine/plan/plan_builder.h"
#include "engine/plan/planner.h"

namespace weft::plan {

absl::Status PlanBuilder::Add(const graph::Call& call) {
  const int module = model_.FindModule(call.module);
  if (module < 0) {
    return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                 absl::StrCat("the model has no module `", call.module, "`"),
                                 model_.Suggest(call.module));
  }
  const int input = model_.FindSite(module, Point::kInput, 0);
  const int output = model_.FindSite(module, Point::kOutput, 0);
  if (call.module.empty() || input < 0 || output < 0) {
    return Refuse("the root, and modules that the model itself never calls, cannot be called");
  }
  if (!model_.modules()[module].not_alone.empty()) return RefuseAlone(module);
  if (call.watched && !model_.modules()[module].packs) {
    return Refuse("of an exported program no module's call is watched",
                  "call it without `watched`, or read its sites where the model calls it");
  }
  if (call.arguments.size() != 1 || !call.arguments[0].name.empty() ||
      !std::holds_alternative<graph::NodeRef>(call.arguments[0].value)) {
    return Refuse("a module is called with one value");
  }
  absl::StatusOr<Slot> slot =
      Current(static_cast<int>(std::get<graph::NodeRef>(call.arguments[0].value).id));
  if (!slot.ok()) return slot.status();
  const int invoke = InvokeIndex();
  absl::StatusOr<c10::IValue> meta =
      ModuleResult(model_, module, MetaAt(*slot), invoke < 0 ? RowCount{} : RowsNow(invoke),
                   invoke >= 0 && plan_.invokes[invoke].all_rows);
  if (!meta.ok()) return meta.status();
  std::shared_ptr<const OtherSizes> other;
  if (call.watched || !model_.modules()[module].rowwise) {
    absl::Status known = NeedsSize(*slot, "this call");
    if (!known.ok()) return known;
  } else if (SizeByData(*slot)) {
    auto found = OtherSizesOf(*meta, {*slot}, [&](Selected selected) {
      return ModuleResult(model_, module, MetaAt(*slot, selected), {}, /*all_rows=*/false);
    });
    if (!found.ok()) return found.status();
    other = *std::move(found);
  }
  if (call.watched) return AddWatched(module, invoke, *slot, *std::move(meta));
  When when = Start();
  when.Add(WhenOf(*slot));
  const Slot result = Emit(CallModule{module, invoke, *slot}, *std::move(meta), when);
  slots_[result].other = std::move(other);
  SetFresh(node_, result);
  return absl::OkStatus();
}

absl::Status PlanBuilder::AddWatched(int module, int invoke, Slot input, c10::IValue result) {
  WatchedCall call;
  call.invoke = invoke;
  call.stage = stage_;
  call.guard = guard_;
  call.region = region_;
  call.first_site = model_.FindSite(module, Point::kInput, 0);
  call.last_site = model_.FindSite(module, Point::kOutput, 0);
  call.leading = LeadingOf(model_, module, MetaAt(input).toTensor().sizes());
  When when = Start();
  when.Add(WhenOf(input));
  when = Guarded(when);
  when.step = ++steps_;
  // One for each site inside, and one for what comes of the call.
  steps_ += call.last_site - call.first_site + 2;
  call.when = when;
  const auto index = static_cast<int>(watched_.size());
  call.begun =
      Emit(CallWatched{index, module, invoke, input, call.first_site, call.last_site}, {}, when);
  when.step = steps_;
  SetFresh(static_cast<int>(node_), Emit(TakeCalled{index, call.begun}, std::move(result), when));
  watched_.push_back(std::move(call));
  return absl::OkStatus();
}

absl::StatusOr<int> PlanBuilder::FindInside(int module, const graph::Site& site) const {
  const absl::Status none = model_.NoSuchSite(module, site);
  const int invoke = InvokeIndex();
  const auto there = [&](const WatchedCall& call) {
    return call.invoke == invoke && call.stage == stage_ &&
           (call.guard < 0 || call.region == region_);
  };
  if (std::none_of(watched_.begin(), watched_.end(), there)) return none;
  std::vector<int> visits;  // the model's own
  for (uint32_t visit = 0;; ++visit) {
    const int own = model_.FindSite(module, site.point, visit, site.op);
    if (own < 0) break;
    visits.push_back(own);
  }
  size_t left = site.visit - visits.size();
  for (size_t index = 0; index < watched_.size(); ++index) {
    const WatchedCall& call = watched_[index];
    if (!there(call)) continue;
    for (const int own : visits) {
      if (own < call.first_site || own > call.last_site || left-- > 0) continue;
      if (!model_.sites()[own].OfModule()) {
        return Refuse(absl::StrCat("`", graph::ToString(site),
                                   "`: of a watched call the inputs and outputs of modules are "
                                   "visited, and not what is inside their forwards"));
      }
      if (CountTensors(model_.sites()[own].pattern) > 1) {
        return Refuse(absl::StrCat("`", graph::ToString(site),
                                   "` holds several tensors, which of a watched call are not "
                                   "visited"),
                      "read what the call returns, or what its module's children return");
      }
      return own + (static_cast<int>(index) + 1) * Sites();
    }
  }
  return none;
}

When PlanBuilder::WhenInside(int site) const {
  const WatchedCall& call = *InsideOf(site);
  When when = call.when;
  when.step += 1 + site % Sites() - call.first_site;
  when.cause = node_;
  return when;
}

bool PlanBuilder::IsOfCall(int step) const {
  return std::any_of(watched_.begin(), watched_.end(), [step](const WatchedCall& call) {
    return step >= call.when.step && step <= call.when.step + call.last_site - call.first_site + 2;
  });
}

absl::Status PlanBuilder::CheckReadyInside(int site, const When& needs,
                                           const std::string& what) const {
  if (!(WhenInside(site) < Guarded(needs))) return absl::OkStatus();
  return Refuse(absl::StrCat(what,
                             " needs a value that is there too late: this watched call is "
                             "made as soon as its argument is there"),
                "make the call's argument from that value, too");
}

absl::Status PlanBuilder::TouchInside(int site) {
  WatchedCall& call = watched_[site / Sites() - 1];
  const int own = site % Sites();
  for (const WatchedCall::Skipped& skip : call.skipped) {
    if (own <= skip.input || own >= skip.output) continue;
    return Refuse(absl::StrCat("`", graph::ToString(model_.sites()[own].site),
                               "` lies inside a module that this call skips, by\n  ",
                               graph::PrintStatement(program_, skip.node)),
                  "skip what lies behind it, or write the module's output instead");
  }
  call.touched.emplace_back(own, node_);
  return absl::OkStatus();
}

absl::Status PlanBuilder::SkipInsideCall(int input, int output, Slot value) {
  if (absl::Status touched = TouchInside(input); !touched.ok()) return touched;
  WatchedCall& call = watched_[input / Sites() - 1];
  const WatchedCall::Skipped skip{input % Sites(), output % Sites(), node_};
  const auto refuse = [&](NodeId other) {
    return Refuse(
        absl::StrCat("this skip overlaps with what lies inside the module, or with another "
                     "skip of it:\n  ",
                     graph::PrintStatement(program_, other)),
        "a module that is skipped has no inside");
  };
  for (const auto& [site, node] : call.touched) {
    if (site > skip.input && site < skip.output) return refuse(node);
  }
  for (const WatchedCall::Skipped& other : call.skipped) {
    if (other.input == skip.input) return refuse(other.node);
  }
  if (model_.sites()[skip.output].pooled) {
    return Refuse("of a watched call, what pools prompts is not skipped",
                  "write its output instead");
  }
  call.skipped.push_back(skip);
  EmitEffect(SkipInside{input / Sites() - 1, skip.input, skip.output, value, call.begun},
             WhenInside(input));
  return absl::OkStatus();
}

absl::StatusOr<int> PlanBuilder::ReadInsideInto(int name, int site, int invoke) {
  if (absl::Status touched = TouchInside(site); !touched.ok()) return touched;
  const WatchedCall& call = *InsideOf(site);
  const int own = site % Sites();
  c10::IValue meta = ValueInside(model_, own, call.leading);
  const int guard = std::exchange(guard_, call.guard);
  const Slot slot =
      Emit(ReadInside{site / Sites() - 1, own, call.begun}, std::move(meta), WhenInside(site));
  guard_ = guard;
  names_[name].site = site;
  names_[name].invoke = invoke;
  names_[name].seen_writes = writers_[{stage_, site}].size();
  return SetFresh(name, slot);
}

absl::Status PlanBuilder::EmitWriteInside(int site, int invoke, std::vector<ViewStep> steps,
                                          Slot value) {
  if (absl::Status known = NeedsSize(value, "this write"); !known.ok()) return known;
  if (absl::Status touched = TouchInside(site); !touched.ok()) return touched;
  int64_t range = 0;
  if (const auto* tensor = std::get_if<graph::Pattern::Tensor>(&SpecOf(site).pattern.value)) {
    range = tensor->range;
  }
  writers_[{stage_, site}].push_back(invoke);
  EmitEffect(WriteInside{site / Sites() - 1, site % Sites(), std::move(steps), value,
                         InsideOf(site)->begun, range},
             WhenInside(site));
  return absl::OkStatus();
}

}  // namespace weft::plan
