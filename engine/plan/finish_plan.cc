#include "engine/plan/finish_plan.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/plan/operands.h"

namespace weft::plan {
namespace {

// Numbers that say in each pass how far the rows of each invoke are needed.
constexpr size_t kMaxEnds = size_t{1} << 26;
// The same of later steps, where an instruction counts as this many.
constexpr size_t kMaxCopied = size_t{1} << 27;
constexpr size_t kInstruction = 64;

template <typename Visit>
void ForGuards(const Plan& plan, const Instruction& instruction, const Visit& visit) {
  for (int guard = instruction.guard; guard >= 0; guard = plan.guards[guard].parent) {
    visit(plan.guards[guard].condition);
  }
}

/// The invoke whose rows an instruction reads, writes or skips at a site; -1 for others.
int InvokeAt(const Instruction& instruction) {
  if (const auto* read = std::get_if<ReadSite>(&instruction.what)) return read->invoke;
  if (const auto* save = std::get_if<SaveSite>(&instruction.what)) return save->invoke;
  if (const auto* write = std::get_if<WriteSite>(&instruction.what)) return write->invoke;
  if (const auto* skip = std::get_if<SkipModule>(&instruction.what)) return skip->invoke;
  return -1;
}

/// An effect that somebody sees from outside.
bool IsObserved(const Instruction& instruction) {
  return std::holds_alternative<SaveValue>(instruction.what) ||
         std::holds_alternative<SaveSite>(instruction.what) ||
         std::holds_alternative<LogValue>(instruction.what) ||
         std::holds_alternative<StopRun>(instruction.what) ||
         std::holds_alternative<BringInput>(instruction.what);
}

/// How far the rows of each invoke are needed in each pass.
class Reaches {
 public:
  explicit Reaches(const Plan& plan) : plan_(plan) {}

  void Reach(int stage, int invoke, int time) {
    Stage& in = stages_[stage];
    in.ends.resize(plan_.invokes.size(), kStart);
    const PlannedInvoke& planned = plan_.invokes[invoke];
    int& furthest = in.furthest.try_emplace(planned.group, kStart).first->second;
    furthest = std::max(furthest, time);
    if (!planned.all_rows) {
      in.ends[invoke] = std::max(in.ends[invoke], time);
      return;
    }
    int& common = in.common.try_emplace(planned.group, kStart).first->second;
    if (time <= common) return;
    common = time;
    for (int each : plan_.traces[planned.trace].invokes) {
      if (plan_.invokes[each].group == planned.group) {
        in.ends[each] = std::max(in.ends[each], time);
      }
    }
  }
  /// The last time that rows which `invoke` writes to are needed for.
  int EndOf(int stage, int invoke) const {
    auto it = stages_.find(stage);
    if (it == stages_.end()) return kStart;
    if (!plan_.invokes[invoke].all_rows) return it->second.ends[invoke];
    auto furthest = it->second.furthest.find(plan_.invokes[invoke].group);
    return furthest == it->second.furthest.end() ? kStart : furthest->second;
  }
  std::vector<int> EndsOf(int stage) const {
    auto it = stages_.find(stage);
    return it == stages_.end() ? std::vector<int>(plan_.invokes.size(), kStart) : it->second.ends;
  }

 private:
  struct Stage {
    std::vector<int> ends;        // by invoke
    std::map<int, int> furthest;  // by group, the last site that any invoke is needed for
    std::map<int, int> common;    // and the last that all of them are
  };
  const Plan& plan_;
  std::map<int, Stage> stages_;
};

/// Keep what somebody can observe, and find where each invoke's rows may leave a pass.
std::vector<bool> FindLive(Plan& plan, std::vector<Instruction>& instructions, int slots,
                           bool stops, Reaches& reaches) {
  const int count = static_cast<int>(instructions.size());
  std::vector<std::vector<int>> makers(slots);
  std::vector<int> pending;
  std::vector<bool> live(count, false);
  bool observed = false;
  auto keep = [&](int i) {
    if (live[i]) return;
    live[i] = true;
    pending.push_back(i);
  };
  for (int i = 0; i < count; ++i) {
    const Instruction& instruction = instructions[i];
    if (instruction.result != kNoSlot) makers[instruction.result].push_back(i);
    if (const auto* set = std::get_if<SetCarry>(&instruction.what)) {
      makers[set->carry].push_back(i);
    }
    if (IsObserved(instruction)) {
      keep(i);
      observed |= !std::holds_alternative<StopRun>(instruction.what) &&
                  !std::holds_alternative<BringInput>(instruction.what);
    }
  }
  if (!observed) {
    // Nobody observes anything: then what was asked for is the call of the model itself, as far as
    // the program says.
    for (size_t i = 0; !stops && i < plan.invokes.size(); ++i) {
      PlannedTrace& trace = plan.traces[plan.invokes[i].trace];
      trace.whole = trace.generates;
      reaches.Reach(FirstKey(plan.invokes[i].trace), static_cast<int>(i), trace.result_site);
    }
    for (const Instruction& instruction : instructions) {
      if (const int invoke = InvokeAt(instruction); invoke >= 0) {
        reaches.Reach(instruction.stage, invoke, instruction.time);
      }
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    while (!pending.empty()) {
      Instruction& instruction = instructions[pending.back()];
      pending.pop_back();
      if (std::holds_alternative<ReadSite>(instruction.what) ||
          std::holds_alternative<SaveSite>(instruction.what)) {
        reaches.Reach(instruction.stage, InvokeAt(instruction), instruction.time);
      }
      const auto need = [&](Slot slot) {
        for (int maker : makers[slot]) keep(maker);
      };
      ForOperands(instruction, need);
      ForGuards(plan, instruction, need);
    }
    // A write is observed where the rows that it changes go on beyond it, also into the tokens that
    // follow; and one to a gradient, or inside a watched call, where anything of that is.
    for (int i = 0; i < count; ++i) {
      const Instruction& instruction = instructions[i];
      if (live[i] || std::holds_alternative<ReadSite>(instruction.what)) continue;
      const auto* gradient = std::get_if<WriteGradient>(&instruction.what);
      const auto* inside = std::get_if<WriteInside>(&instruction.what);
      const auto* skip = std::get_if<SkipInside>(&instruction.what);
      if (gradient != nullptr || inside != nullptr || skip != nullptr) {
        const Slot begun = gradient != nullptr ? gradient->begun
                           : inside != nullptr ? inside->begun
                                               : skip->begun;
        if (!live[makers[begun].front()]) continue;
        keep(i);
        changed = true;
        continue;
      }
      const int invoke = InvokeAt(instruction);
      if (invoke < 0) continue;
      const int time = instruction.time;
      const bool generates = plan.traces[plan.invokes[invoke].trace].generates;
      if (!generates && reaches.EndOf(instruction.stage, invoke) < time) continue;
      keep(i);
      changed = true;
      // What is written into all rows needs all of them to be there; and a step of a generation
      // does what stands in it though it may be the last one, which nothing follows.
      if (generates || plan.invokes[invoke].all_rows) {
        reaches.Reach(instruction.stage, invoke, time);
      }
    }
  }
  return live;
}

/// Both read one visit, of one time.
bool ReadTheSame(const Instruction& one, const Instruction& other) {
  if (const auto* a = std::get_if<ReadInside>(&one.what)) {
    const auto* b = std::get_if<ReadInside>(&other.what);
    return b != nullptr && a->call == b->call && a->site == b->site;
  }
  const auto *a = std::get_if<ReadSite>(&one.what), *b = std::get_if<ReadSite>(&other.what);
  return a != nullptr && b != nullptr && a->invoke == b->invoke;
}

/// Where the instructions of each gradient lie, and what else has to be read as it is used.
void FindPoints(Plan& plan, PlannedTrace& trace) {
  std::vector<Instruction>& instructions = trace.stages[PlannedTrace::kFirst].instructions;
  PlannedBackward* latest = nullptr;
  for (size_t i = 0; i < instructions.size(); ++i) {
    const Instruction& begin = instructions[i];
    const auto* run = std::get_if<RunBackward>(&begin.what);
    if (run == nullptr) continue;
    trace.gradients = true;
    plan.gradients = true;
    latest = &plan.backwards[run->backward];
    size_t at = i + 1;
    for (size_t point = 0; point < run->points.size(); ++point) {
      latest->first.push_back(static_cast<int>(at));
      const int step = begin.step + 1 + static_cast<int>(point);
      while (at < instructions.size() && instructions[at].time == begin.time &&
             instructions[at].step == step) {
        ++at;
      }
    }
    latest->first.push_back(static_cast<int>(at));
  }
  if (latest == nullptr) {
    // Nobody goes backwards any more, perhaps as nothing of it was used.
    for (Instruction& instruction : instructions) instruction.gradient = false;
    return;
  }
  latest->last = true;
  // All reads of one visit give the tensor that the model goes on with, if one of them has to:
  // where nothing was written in between, they are one.
  for (size_t first = 0, end = 0; first < instructions.size(); first = end) {
    while (end < instructions.size() && instructions[end].time == instructions[first].time) ++end;
    for (size_t i = first; i < end; ++i) {
      if (!instructions[i].gradient) continue;
      for (size_t j = first; j < end; ++j) {
        if (ReadTheSame(instructions[i], instructions[j])) instructions[j].gradient = true;
      }
    }
  }
}

void SortByTime(std::vector<Instruction>& instructions) {
  std::sort(instructions.begin(), instructions.end(),
            [](const Instruction& a, const Instruction& b) {
              return std::tuple(a.time, a.late, a.step, a.order, a.place) <
                     std::tuple(b.time, b.late, b.step, b.order, b.place);
            });
}

/// A stage of instructions that are in order.
Stage MakeStage(std::vector<Instruction> instructions, std::vector<int> ends,
                const ModelSpec& model) {
  Stage stage;
  // A read that a later write of the same visit would show through takes a copy; the pass keeps
  // what was there before the run's first write, so only reads after a write need it.
  for (size_t first = 0, end = 0; first < instructions.size(); first = end) {
    while (end < instructions.size() && instructions[end].time == instructions[first].time) ++end;
    bool written = false;
    for (size_t i = first; i < end; ++i) {
      if (std::holds_alternative<WriteSite>(instructions[i].what)) written = true;
      if (auto* read = std::get_if<ReadSite>(&instructions[i].what)) read->copy = written;
    }
    bool writes_again = false;
    for (size_t i = end; i-- > first;) {
      if (auto* read = std::get_if<ReadSite>(&instructions[i].what)) read->copy &= writes_again;
      if (std::holds_alternative<WriteSite>(instructions[i].what)) writes_again = true;
    }
  }
  stage.first.assign(model.sites().size() + 2, static_cast<int>(instructions.size()));
  for (size_t i = instructions.size(); i-- > 0;) {
    stage.first[instructions[i].time + 1] = static_cast<int>(i);
  }
  for (size_t t = stage.first.size() - 1; t-- > 0;) {
    stage.first[t] = std::min(stage.first[t], stage.first[t + 1]);
  }
  for (const Instruction& instruction : instructions) {
    if (instruction.time != kStart &&
        (stage.times.empty() || stage.times.back() != instruction.time)) {
      stage.times.push_back(instruction.time);
    }
  }
  stage.ends = std::move(ends);
  stage.instructions = std::move(instructions);
  return stage;
}

/// Number the slots that are left, and say where each is needed last: after an instruction of its
/// pass, or, where passes hand it on, after a trace.
void PlaceSlots(Plan& plan, std::map<int, std::vector<Instruction>>& by_stage, int slots) {
  struct Use {
    int made = -1, last = -1;  // stages
    bool handed_on = false;
    Instruction* at = nullptr;  // the last one
  };
  std::vector<Use> uses(slots);
  for (auto& [stage, instructions] : by_stage) {
    for (Instruction& instruction : instructions) {
      const auto use = [&, stage = stage](Slot slot) {
        uses[slot].handed_on |= uses[slot].made != stage;
        uses[slot].last = stage;
        uses[slot].at = &instruction;
      };
      if (instruction.result != kNoSlot) {
        Use& made = uses[instruction.result];
        made = {stage, stage, false, &instruction};
      }
      ForOperands(instruction, use);
      ForGuards(plan, instruction, use);
      if (const auto* set = std::get_if<SetCarry>(&instruction.what)) use(set->carry);
    }
  }
  std::vector<Slot> renumbered(slots, kNoSlot);
  Slot next = 0;
  for (int slot = 0; slot < slots; ++slot) {
    if (uses[slot].last < 0) continue;
    renumbered[slot] = next++;
    if (uses[slot].handed_on) {
      plan.traces[uses[slot].last / kStageKeys].release.push_back(renumbered[slot]);
    } else {
      uses[slot].at->release.push_back(renumbered[slot]);
    }
  }
  plan.slots = next;
  for (auto& [stage, instructions] : by_stage) {
    for (Instruction& instruction : instructions) {
      ForOperands(instruction, [&](Slot& slot) { slot = renumbered[slot]; });
      if (instruction.result != kNoSlot) instruction.result = renumbered[instruction.result];
      if (auto* set = std::get_if<SetCarry>(&instruction.what)) set->carry = renumbered[set->carry];
    }
  }
  for (Guard& guard : plan.guards) guard.condition = renumbered[guard.condition];
}

/// Which steps anybody needs, from what is left of each region.
void FindLastStep(PlannedTrace& trace, int index,
                  const std::map<int, std::vector<Instruction>>& by_stage) {
  for (size_t region = 0; region < trace.regions.size(); ++region) {
    if (!by_stage.contains(RegionKey(index, static_cast<int>(region)))) continue;
    trace.last_step = std::max(trace.last_step, trace.regions[region].LastBelow(trace.steps));
  }
  if (auto after = by_stage.find(AfterKey(index)); after != by_stage.end()) {
    for (const Instruction& instruction : after->second) {
      trace.whole |= std::holds_alternative<ReadResult>(instruction.what);
    }
  }
  if (trace.whole) trace.last_step = trace.steps - 1;
}

/// The first time that each invoke's rows are changed; Sharing::kNever if never.
std::vector<int> FindChanges(const Plan& plan, const Stage& stage) {
  std::vector<int> first(plan.invokes.size(), Sharing::kNever);
  for (const Instruction& instruction : stage.instructions) {
    const bool changes = std::holds_alternative<WriteSite>(instruction.what) ||
                         std::holds_alternative<SkipModule>(instruction.what);
    if (!changes) continue;
    const PlannedInvoke& changed = plan.invokes[InvokeAt(instruction)];
    for (const int invoke : plan.traces[changed.trace].invokes) {
      const bool in_it = changed.all_rows ? plan.invokes[invoke].group == changed.group
                                          : &plan.invokes[invoke] == &changed;
      if (in_it) first[invoke] = std::min(first[invoke], instruction.time);
    }
  }
  return first;
}

/// Let the points of a sweep have their rows in common until one of them changes its own. Everybody
/// begins with the rows of the one that changes last, and leaves it at the last place before its
/// own first change where a pass can let rows in.
void ShareRows(const Plan& plan, const PlannedTrace& trace, const ModelSpec& model, Stage& stage) {
  if (trace.generates || trace.gradients) return;
  std::map<int, std::vector<int>> alike;  // by input
  for (const int invoke : trace.invokes) {
    if (!plan.invokes[invoke].all_rows && stage.ends[invoke] > kStart) {
      alike[plan.invokes[invoke].input].push_back(invoke);
    }
  }
  const std::vector<int> changes = FindChanges(plan, stage);
  for (const auto& [input, invokes] : alike) {
    if (invokes.size() < 2) continue;
    const int trunk = *std::max_element(invokes.begin(), invokes.end(),
                                        [&](int a, int b) { return changes[a] < changes[b]; });
    for (const int invoke : invokes) {
      if (invoke == trunk) continue;
      const auto after =
          std::lower_bound(model.leaves().begin(), model.leaves().end(), changes[invoke]);
      if (after == model.leaves().begin()) continue;
      int until = changes[invoke] == Sharing::kNever ? Sharing::kNever : *(after - 1);
      if (until >= stage.ends[invoke]) until = Sharing::kNever;
      if (stage.sharing.empty()) stage.sharing.resize(plan.invokes.size());
      stage.sharing[invoke] = {trunk, until};
      stage.ends[trunk] = std::max(stage.ends[trunk], std::min(until, stage.ends[invoke]));
    }
  }
}

/// A view of nothing but the last token of a value `[B, T, ...]`.
bool TakesLastToken(const BoundCall& call) {
  const auto is = [&call](size_t argument, int64_t wanted) {
    const c10::IValue& value = call.stack[argument];
    return value.isInt() && value.toInt() == wanted;
  };
  if (call.row->name == "aten::select") return is(1, 1) && is(2, -1);
  return call.row->name == "aten::slice" && is(1, 1) && is(2, -1) && call.stack[3].isNone() &&
         is(4, 1);
}

/// By slot, whether more is used of a value than its last token.
std::vector<bool> FindUsedWhole(const Plan& plan) {
  std::vector<bool> whole(plan.slots, false);
  const auto use = [&whole](Slot slot) { whole[slot] = true; };
  // From the back, as what is taken out of a structure is used behind it.
  for (size_t t = plan.traces.size(); t-- > 0;) {
    for (size_t s = plan.traces[t].stages.size(); s-- > 0;) {
      const std::vector<Instruction>& instructions = plan.traces[t].stages[s].instructions;
      for (size_t i = instructions.size(); i-- > 0;) {
        const Instruction& instruction = instructions[i];
        ForGuards(plan, instruction, use);
        const auto* call = std::get_if<CallOperator>(&instruction.what);
        if (call != nullptr && TakesLastToken(call->call)) continue;
        const bool item = std::holds_alternative<TakeItem>(instruction.what);
        if (!item || whole[instruction.result]) ForOperands(instruction, use);
      }
    }
  }
  return whole;
}

/// Find whose prompts are looked at in their last token alone, wherever a pass can do with that.
void FindLastAlone(const Plan& plan, const PlannedTrace& trace, const std::vector<bool>& used_whole,
                   const ModelSpec& model, Stage& stage) {
  if (trace.generates || trace.gradients) return;
  std::vector<bool> looked_at(plan.invokes.size(), false), more(plan.invokes.size(), false);
  for (const Instruction& instruction : stage.instructions) {
    // A module that is called there out of band would take its segment's tokens as they are.
    const auto* called = std::get_if<CallModule>(&instruction.what);
    const auto* watched = std::get_if<CallWatched>(&instruction.what);
    const int invoke = called != nullptr    ? called->invoke
                       : watched != nullptr ? watched->invoke
                                            : InvokeAt(instruction);
    const int time = instruction.time;
    if (invoke < 0 || time == kStart || !model.sites()[time].last_token) continue;
    looked_at[invoke] = true;
    const bool last = std::holds_alternative<ReadSite>(instruction.what) &&
                      !plan.invokes[invoke].all_rows && !used_whole[instruction.result];
    if (last) continue;
    for (const int other : trace.invokes) {
      // What shares its rows has the same input.
      if (plan.invokes[invoke].all_rows || other == invoke ||
          plan.invokes[other].input == plan.invokes[invoke].input) {
        more[other] = true;
      }
    }
  }
  for (size_t invoke = 0; invoke < more.size(); ++invoke) {
    if (!looked_at[invoke] || more[invoke]) continue;
    stage.last_alone.resize(plan.invokes.size());
    stage.last_alone[invoke] = true;
  }
}

/// A stage for each set of regions that some later step has. `copied` counts their instructions.
absl::Status MakeLaterStages(Plan& plan, PlannedTrace& trace, int index,
                             const std::map<int, std::vector<Instruction>>& by_stage,
                             const Reaches& reaches, const ModelSpec& model, size_t& copied) {
  trace.stage_of.assign(trace.last_step + 1, PlannedTrace::kFirst);
  std::map<std::vector<bool>, int> stage_by_regions;
  std::vector<bool> active(trace.regions.size());
  for (int64_t step = 1; step <= trace.last_step; ++step) {
    for (size_t region = 0; region < trace.regions.size(); ++region) {
      active[region] = trace.regions[region].Has(step);
    }
    const auto [it, added] =
        stage_by_regions.try_emplace(active, static_cast<int>(trace.stages.size()));
    trace.stage_of[step] = it->second;
    if (!added) {
      ++trace.stages[it->second].steps;
      continue;
    }
    copied += plan.invokes.size();
    std::vector<Instruction> instructions;
    std::vector<int> ends(plan.invokes.size(), kStart);
    for (size_t region = 0; region < trace.regions.size(); ++region) {
      if (!active[region]) continue;
      const int key = RegionKey(index, static_cast<int>(region));
      const auto part = by_stage.find(key);
      if (part == by_stage.end()) continue;
      copied += part->second.size() * kInstruction;
      if (copied > kMaxCopied) {
        return absl::ResourceExhaustedError(
            "the `steps` of this program select steps in so many ways that all of these together "
            "are too large: split it, or let regions select the same steps");
      }
      instructions.insert(instructions.end(), part->second.begin(), part->second.end());
      const std::vector<int> needed = reaches.EndsOf(key);
      for (size_t i = 0; i < ends.size(); ++i) ends[i] = std::max(ends[i], needed[i]);
    }
    SortByTime(instructions);
    trace.stages.push_back(MakeStage(std::move(instructions), std::move(ends), model));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FinishPlan(Plan& plan, std::vector<Instruction> instructions, int slots, bool stops,
                        const ModelSpec& model) {
  if (plan.traces.size() * plan.invokes.size() > kMaxEnds) {
    return absl::ResourceExhaustedError(absl::StrCat("the program takes ", plan.traces.size(),
                                                     " passes, with ", plan.invokes.size(),
                                                     " invokes in all: split it"));
  }
  Reaches reaches(plan);
  size_t copied = 0;
  const std::vector<bool> live = FindLive(plan, instructions, slots, stops, reaches);
  std::map<int, std::vector<Instruction>> by_stage;
  for (size_t i = 0; i < instructions.size(); ++i) {
    instructions[i].place = static_cast<int>(i);
    if (live[i]) by_stage[instructions[i].stage].push_back(std::move(instructions[i]));
  }
  for (auto& [stage, part] : by_stage) SortByTime(part);
  PlaceSlots(plan, by_stage, slots);
  for (size_t t = 0; t < plan.traces.size(); ++t) {
    PlannedTrace& trace = plan.traces[t];
    const int index = static_cast<int>(t);
    FindLastStep(trace, index, by_stage);
    for (const int key : {FirstKey(index), AfterKey(index)}) {
      trace.stages.push_back(MakeStage(by_stage[key], reaches.EndsOf(key), model));
    }
    absl::Status made = MakeLaterStages(plan, trace, index, by_stage, reaches, model, copied);
    if (!made.ok()) return made;
    FindPoints(plan, trace);
    ShareRows(plan, trace, model, trace.stages[PlannedTrace::kFirst]);
  }
  const std::vector<bool> used_whole = FindUsedWhole(plan);
  for (PlannedTrace& trace : plan.traces) {
    FindLastAlone(plan, trace, used_whole, model, trace.stages[PlannedTrace::kFirst]);
  }
  return absl::OkStatus();
}

}  // namespace weft::plan
