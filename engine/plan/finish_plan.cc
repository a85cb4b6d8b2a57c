#include "engine/plan/finish_plan.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace weft::plan {
namespace {

template <typename Visit>
void ForSlots(BoundCall& call, const Visit& visit) {
  for (BoundCall::Fill& fill : call.fills) {
    if (Slot* slot = std::get_if<Slot>(&fill.from)) {
      visit(*slot);
    } else {
      for (Slot& slot : std::get<std::vector<Slot>>(fill.from)) {
        if (slot != kNoSlot) visit(slot);
      }
    }
  }
}

/// Call `visit` with every slot that an instruction reads.
template <typename Visit>
void ForOperands(Instruction& instruction, const Visit& visit) {
  struct Each {
    const Visit& visit;
    void operator()(ReadSite&) const {}
    void operator()(ReadInvoke&) const {}
    void operator()(LoadConstant&) const {}
    void operator()(LoadParameter&) const {}
    void operator()(CallOperator& what) const { ForSlots(what.call, visit); }
    void operator()(TakeItem& what) const { visit(what.from); }
    void operator()(MakeStructure& what) const {
      for (Slot& slot : what.items) visit(slot);
    }
    void operator()(ReplacePart& what) const {
      visit(what.base);
      visit(what.value);
      for (ViewStep& step : what.steps) ForSlots(step.call, visit);
    }
    void operator()(CallModule& what) const { visit(what.input); }
    void operator()(WriteSite& what) const {
      visit(what.value);
      for (ViewStep& step : what.steps) ForSlots(step.call, visit);
    }
    void operator()(SkipModule& what) const { visit(what.value); }
    void operator()(SaveValue& what) const { visit(what.value); }
    void operator()(LogValue& what) const { visit(what.value); }
    void operator()(RunBackward& what) const {
      visit(what.loss);
      if (what.gradient != kNoSlot) visit(what.gradient);
      for (Slot& slot : what.points) visit(slot);
    }
    void operator()(ReadGradient& what) const { visit(what.begun); }
    void operator()(WriteGradient& what) const {
      visit(what.begun);
      visit(what.value);
      for (ViewStep& step : what.steps) ForSlots(step.call, visit);
    }
  };
  std::visit(Each{visit}, instruction.what);
}

/// The invoke whose rows an instruction reads, writes or skips at a site; -1 for others.
int InvokeAt(const Instruction& instruction) {
  if (const auto* read = std::get_if<ReadSite>(&instruction.what)) return read->invoke;
  if (const auto* write = std::get_if<WriteSite>(&instruction.what)) return write->invoke;
  if (const auto* skip = std::get_if<SkipModule>(&instruction.what)) return skip->invoke;
  return -1;
}

/// Keep what somebody can observe, and find where each invoke's rows may leave the pass.
std::vector<bool> FindLive(Plan& plan, int slots, bool stops, const ModelSpec& model) {
  const int count = static_cast<int>(plan.instructions.size());
  std::vector<int> maker(slots, -1);
  std::vector<int> pending;
  std::vector<bool> live(count, false);
  bool observed = false;
  for (int i = 0; i < count; ++i) {
    Instruction& instruction = plan.instructions[i];
    if (instruction.result != kNoSlot) maker[instruction.result] = i;
    if (std::holds_alternative<SaveValue>(instruction.what) ||
        std::holds_alternative<LogValue>(instruction.what)) {
      live[i] = true;
      observed = true;
      pending.push_back(i);
    }
  }
  // The last site that any invoke is needed for, and the last that all of them are.
  int furthest = kStart, common = kStart;
  auto reach = [&](int invoke, int time) {
    furthest = std::max(furthest, time);
    if (!plan.invokes[invoke].all_rows) {
      plan.invokes[invoke].end = std::max(plan.invokes[invoke].end, time);
    } else if (time > common) {
      common = time;
      for (PlannedInvoke& each : plan.invokes) each.end = std::max(each.end, time);
    }
  };
  if (!observed) {
    // Nobody observes anything: then what was asked for is the call of the model itself, as far as
    // the program says.
    for (size_t i = 0; !stops && i < plan.invokes.size(); ++i) {
      reach(static_cast<int>(i), model.ResultSite());
    }
    for (const Instruction& instruction : plan.instructions) {
      if (const int invoke = InvokeAt(instruction); invoke >= 0) reach(invoke, instruction.time);
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    while (!pending.empty()) {
      Instruction& instruction = plan.instructions[pending.back()];
      pending.pop_back();
      if (const auto* read = std::get_if<ReadSite>(&instruction.what)) {
        reach(read->invoke, instruction.time);
      }
      ForOperands(instruction, [&](Slot slot) {
        if (maker[slot] >= 0 && !live[maker[slot]]) {
          live[maker[slot]] = true;
          pending.push_back(maker[slot]);
        }
      });
    }
    // A write is observed where the rows that it changes go on beyond it, and one to a gradient
    // where anything of its region is.
    for (int i = 0; i < count; ++i) {
      if (live[i] || std::holds_alternative<ReadSite>(plan.instructions[i].what)) continue;
      if (const auto* write = std::get_if<WriteGradient>(&plan.instructions[i].what)) {
        if (!live[maker[write->begun]]) continue;
        live[i] = changed = true;
        pending.push_back(i);
        continue;
      }
      const int invoke = InvokeAt(plan.instructions[i]);
      if (invoke < 0) continue;
      const int time = plan.instructions[i].time;
      const bool all_rows = plan.invokes[invoke].all_rows;
      if ((all_rows ? furthest : plan.invokes[invoke].end) < time) continue;
      live[i] = true;
      pending.push_back(i);
      changed = true;
      // What is written into all rows needs all of them to be there.
      if (all_rows) reach(invoke, time);
    }
  }
  return live;
}

/// Where the instructions of each gradient lie, and what else has to be read as it is used.
void FindPoints(Plan& plan) {
  PlannedBackward* latest = nullptr;
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const Instruction& begin = plan.instructions[i];
    const auto* run = std::get_if<RunBackward>(&begin.what);
    if (run == nullptr) continue;
    plan.gradients = true;
    latest = &plan.backwards[run->backward];
    size_t at = i + 1;
    for (size_t point = 0; point < run->points.size(); ++point) {
      latest->first.push_back(static_cast<int>(at));
      const int step = begin.step + 1 + static_cast<int>(point);
      while (at < plan.instructions.size() && plan.instructions[at].time == begin.time &&
             plan.instructions[at].step == step) {
        ++at;
      }
    }
    latest->first.push_back(static_cast<int>(at));
  }
  if (latest != nullptr) latest->last = true;
  // All reads of one visit give the tensor that the model goes on with, if one of them has to.
  for (size_t first = 0, end = 0; first < plan.instructions.size(); first = end) {
    while (end < plan.instructions.size() &&
           plan.instructions[end].time == plan.instructions[first].time) {
      ++end;
    }
    for (size_t i = first; i < end; ++i) {
      const auto* asked = std::get_if<ReadSite>(&plan.instructions[i].what);
      if (asked == nullptr || !plan.instructions[i].gradient) continue;
      for (size_t j = first; j < end; ++j) {
        const auto* read = std::get_if<ReadSite>(&plan.instructions[j].what);
        if (read != nullptr && read->invoke == asked->invoke) plan.instructions[j].gradient = true;
      }
    }
  }
}

}  // namespace

void FinishPlan(Plan& plan, int slots, bool stops, const ModelSpec& model) {
  const std::vector<bool> live = FindLive(plan, slots, stops, model);
  std::vector<Instruction> kept;
  kept.reserve(plan.instructions.size());
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    if (live[i]) kept.push_back(std::move(plan.instructions[i]));
  }
  std::stable_sort(kept.begin(), kept.end(), [](const Instruction& a, const Instruction& b) {
    return std::pair(a.time, a.step) < std::pair(b.time, b.step);
  });
  // A read that a later write of the same visit would show through takes a copy; the pass keeps
  // what was there before the run's first write, so only reads after a write need it.
  for (size_t first = 0, end = 0; first < kept.size(); first = end) {
    while (end < kept.size() && kept[end].time == kept[first].time) ++end;
    bool written = false;
    for (size_t i = first; i < end; ++i) {
      if (std::holds_alternative<WriteSite>(kept[i].what)) written = true;
      if (auto* read = std::get_if<ReadSite>(&kept[i].what)) read->copy = written;
    }
    bool writes_again = false;
    for (size_t i = end; i-- > first;) {
      if (auto* read = std::get_if<ReadSite>(&kept[i].what)) read->copy &= writes_again;
      if (std::holds_alternative<WriteSite>(kept[i].what)) writes_again = true;
    }
  }
  plan.instructions = std::move(kept);
  FindPoints(plan);

  std::vector<int> last(slots, -1);
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    Instruction& instruction = plan.instructions[i];
    if (instruction.result != kNoSlot) last[instruction.result] = static_cast<int>(i);
    ForOperands(instruction, [&](Slot slot) { last[slot] = static_cast<int>(i); });
  }
  // The frame needs only the slots that are left.
  std::vector<Slot> renumbered(slots, kNoSlot);
  Slot next = 0;
  for (size_t slot = 0; slot < last.size(); ++slot) {
    if (last[slot] >= 0) renumbered[slot] = next++;
  }
  plan.slots = next;
  for (size_t slot = 0; slot < last.size(); ++slot) {
    if (last[slot] >= 0) {
      plan.instructions[last[slot]].release.push_back(renumbered[slot]);
    }
  }
  for (Instruction& instruction : plan.instructions) {
    ForOperands(instruction, [&](Slot& slot) { slot = renumbered[slot]; });
    if (instruction.result != kNoSlot) instruction.result = renumbered[instruction.result];
  }

  plan.first.assign(model.sites().size() + 2, static_cast<int>(plan.instructions.size()));
  for (size_t i = plan.instructions.size(); i-- > 0;) {
    plan.first[plan.instructions[i].time + 1] = static_cast<int>(i);
  }
  for (size_t t = plan.first.size() - 1; t-- > 0;) {
    plan.first[t] = std::min(plan.first[t], plan.first[t + 1]);
  }
  for (const Instruction& instruction : plan.instructions) {
    if (instruction.time != kStart &&
        (plan.times.empty() || plan.times.back() != instruction.time)) {
      plan.times.push_back(instruction.time);
    }
  }
  for (const PlannedInvoke& invoke : plan.invokes) plan.end = std::max(plan.end, invoke.end);
}

}  // namespace weft::plan
