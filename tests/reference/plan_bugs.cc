#include "tests/reference/plan_bugs.h"

#include <algorithm>
#include <utility>

#include "absl/functional/function_ref.h"

namespace weft::reference {
namespace {

using plan::Instruction;
using plan::Slot;

/// Call `change` with each instruction of a plan until it says that it changed one.
bool ChangeOne(plan::Plan& plan,
               absl::FunctionRef<bool(plan::Stage& stage, size_t instruction)> change) {
  for (plan::PlannedTrace& trace : plan.traces) {
    for (plan::Stage& stage : trace.stages) {
      for (size_t i = 0; i < stage.instructions.size(); ++i) {
        if (change(stage, i)) return true;
      }
    }
  }
  return false;
}

/// The same with those of one kind.
template <typename What, typename Change>
bool ChangeOneOf(plan::Plan& plan, const Change& change) {
  return ChangeOne(plan, [&](plan::Stage& stage, size_t i) {
    auto* what = std::get_if<What>(&stage.instructions[i].what);
    return what != nullptr && change(*what, stage.instructions[i]);
  });
}

/// Nothing happens instead.
void Drop(Instruction& instruction) {
  instruction.what = plan::MakeStructure{graph::Structure::Kind::kTuple, {}, {}};
}

/// Values stay where they are, so that a bug reads a wrong one and not none.
void ReleaseNothing(plan::Plan& plan) {
  ChangeOne(plan, [](plan::Stage& stage, size_t i) {
    stage.instructions[i].release.clear();
    return false;
  });
}

void UseInstead(Instruction& instruction, Slot old, Slot other) {
  const auto replace = [&](Slot& slot) { slot = slot == old ? other : slot; };
  if (auto* call = std::get_if<plan::CallOperator>(&instruction.what)) {
    for (plan::BoundCall::Fill& fill : call->call.fills) {
      if (Slot* slot = std::get_if<Slot>(&fill.from)) replace(*slot);
    }
  }
  if (auto* save = std::get_if<plan::SaveValue>(&instruction.what)) replace(save->value);
  if (auto* write = std::get_if<plan::WriteSite>(&instruction.what)) replace(write->value);
  if (auto* item = std::get_if<plan::TakeItem>(&instruction.what)) replace(item->from);
}

bool ReadsTheOldVersion(plan::Plan& plan) {
  Slot before = plan::kNoSlot, after = plan::kNoSlot;
  ChangeOneOf<plan::ReplacePart>(plan, [&](plan::ReplacePart& what, Instruction& instruction) {
    before = what.base;
    after = instruction.result;
    return true;
  });
  if (after == plan::kNoSlot) return false;
  ReleaseNothing(plan);
  ChangeOne(plan, [&](plan::Stage& stage, size_t i) {
    UseInstead(stage.instructions[i], after, before);
    return false;
  });
  return true;
}

bool LosesAWrite(plan::Plan& plan) {
  return ChangeOneOf<plan::WriteSite>(plan, [](plan::WriteSite&, Instruction& instruction) {
    Drop(instruction);
    return true;
  });
}

bool WritesAnotherSlice(plan::Plan& plan) {
  return ChangeOneOf<plan::WriteSite>(plan, [](plan::WriteSite& what, Instruction&) {
    if (what.steps.empty() || what.steps.back().call.row == nullptr) return false;
    plan::BoundCall& call = what.steps.back().call;
    if (call.row->name != "aten::select") return false;
    call.stack[2] = call.stack[2].toInt() == 0 ? int64_t{-1} : int64_t{0};
    return true;
  });
}

bool WritesAWiderSlice(plan::Plan& plan) {
  return ChangeOneOf<plan::WriteSite>(plan, [](plan::WriteSite& what, Instruction&) {
    if (what.steps.empty() || what.steps.back().call.row == nullptr) return false;
    what.steps.pop_back();
    return true;
  });
}

/// A read that is written before a write sees it, or the other way round.
bool SwapsAReadAndAWrite(plan::Plan& plan) {
  return ChangeOne(plan, [](plan::Stage& stage, size_t i) {
    if (i == 0) return false;
    Instruction &first = stage.instructions[i - 1], &second = stage.instructions[i];
    if (first.time != second.time) return false;
    const bool read_first = std::holds_alternative<plan::ReadSite>(first.what) &&
                            std::holds_alternative<plan::WriteSite>(second.what);
    const bool write_first = std::holds_alternative<plan::WriteSite>(first.what) &&
                             std::holds_alternative<plan::ReadSite>(second.what);
    if (!read_first && !write_first) return false;
    std::swap(first, second);
    return true;
  });
}

bool ReadsAnotherInvoke(plan::Plan& plan) {
  return ChangeOneOf<plan::ReadSite>(plan, [&](plan::ReadSite& what, Instruction&) {
    const int other = what.invoke + 1;
    if (other >= static_cast<int>(plan.invokes.size()) ||
        plan.invokes[other].trace != plan.invokes[what.invoke].trace) {
      return false;
    }
    what.invoke = other;
    return true;
  });
}

bool ReleasesTooEarly(plan::Plan& plan) {
  return ChangeOne(plan, [](plan::Stage& stage, size_t i) {
    Instruction& instruction = stage.instructions[i];
    if (instruction.release.empty() || i == 0) return false;
    const Slot slot = instruction.release.front();
    if (slot == instruction.result) return false;
    for (size_t j = i; j-- > 0;) {
      if (stage.instructions[j].result != slot) continue;
      stage.instructions[j].release.push_back(slot);
      return true;
    }
    return false;
  });
}

bool LeavesTooEarly(plan::Plan& plan) {
  for (plan::PlannedTrace& trace : plan.traces) {
    for (plan::Stage& stage : trace.stages) {
      for (int& end : stage.ends) {
        // The model looks for who may leave after `mix` and after each block.
        if (end < 12) continue;
        end = 1;
        return true;
      }
    }
  }
  return false;
}

bool TakesTheOtherBranch(plan::Plan& plan) {
  if (plan.guards.empty()) return false;
  for (plan::Guard& guard : plan.guards) guard.wanted = !guard.wanted;
  return true;
}

bool IgnoresABranch(plan::Plan& plan) {
  return ChangeOne(plan, [](plan::Stage& stage, size_t i) {
    Instruction& instruction = stage.instructions[i];
    if (instruction.guard < 0 || std::holds_alternative<plan::CallOperator>(instruction.what)) {
      return false;
    }
    instruction.guard = -1;
    return true;
  });
}

bool YieldsOfTheOtherBranch(plan::Plan& plan) {
  return ChangeOneOf<plan::ChooseValue>(plan, [](plan::ChooseValue& what, Instruction&) {
    std::swap(what.then, what.otherwise);
    return true;
  });
}

bool SwapsArguments(plan::Plan& plan) {
  return ChangeOneOf<plan::CallOperator>(plan, [](plan::CallOperator& what, Instruction&) {
    if (what.call.fills.size() < 2) return false;
    std::swap(what.call.fills[0].from, what.call.fills[1].from);
    return true;
  });
}

bool SavesAnotherValue(plan::Plan& plan) {
  Slot other = plan::kNoSlot;
  ReleaseNothing(plan);
  return ChangeOne(plan, [&](plan::Stage& stage, size_t i) {
    auto* save = std::get_if<plan::SaveValue>(&stage.instructions[i].what);
    if (save != nullptr && other != plan::kNoSlot && other != save->value) {
      save->value = other;
      return true;
    }
    if (std::holds_alternative<plan::CallOperator>(stage.instructions[i].what)) {
      other = stage.instructions[i].result;
    }
    return false;
  });
}

bool ForgetsASkip(plan::Plan& plan) {
  return ChangeOneOf<plan::SkipModule>(plan, [](plan::SkipModule&, Instruction& instruction) {
    Drop(instruction);
    return true;
  });
}

bool DoesNotCopyARead(plan::Plan& plan) {
  return ChangeOneOf<plan::ReadSite>(
      plan, [](plan::ReadSite& what, Instruction&) { return std::exchange(what.copy, false); });
}

bool MixesThePointsOfASweep(plan::Plan& plan) {
  bool all = false, points = false;
  for (const plan::PlannedInvoke& invoke : plan.invokes) {
    all |= invoke.all_rows;
    points |= invoke.group > 1;
  }
  if (!all || !points) return false;
  for (plan::PlannedInvoke& invoke : plan.invokes) invoke.group = 0;
  return true;
}

bool LosesAWrittenGradient(plan::Plan& plan) {
  return ChangeOneOf<plan::WriteGradient>(plan, [](plan::WriteGradient&, Instruction& instruction) {
    Drop(instruction);
    return true;
  });
}

bool ReadsAnotherGradient(plan::Plan& plan) {
  return ChangeOneOf<plan::ReadGradient>(plan, [](plan::ReadGradient& what, Instruction&) {
    if (what.point == 0) return false;
    --what.point;
    return true;
  });
}

bool CarriesNothingOn(plan::Plan& plan) {
  return ChangeOneOf<plan::SetCarry>(plan, [](plan::SetCarry&, Instruction& instruction) {
    Drop(instruction);
    return true;
  });
}

bool DoesInEveryStepWhatOneHas(plan::Plan& plan) {
  for (plan::PlannedTrace& trace : plan.traces) {
    for (size_t step = 1; step < trace.stage_of.size(); ++step) {
      const int stage = trace.stage_of[step];
      if (trace.stages[stage].instructions.empty()) continue;
      if (stage + 1 == static_cast<int>(trace.stages.size())) continue;
      std::replace(trace.stage_of.begin() + 1, trace.stage_of.end(), stage, stage + 1);
      return true;
    }
  }
  return false;
}

}  // namespace

const std::vector<NamedBug>& PlanBugs() {
  static const auto* const kBugs = new std::vector<NamedBug>{
      {"ReadsTheOldVersion", ReadsTheOldVersion},
      {"LosesAWrite", LosesAWrite},
      {"WritesAnotherSlice", WritesAnotherSlice},
      {"WritesAWiderSlice", WritesAWiderSlice},
      {"SwapsAReadAndAWrite", SwapsAReadAndAWrite},
      {"ReadsAnotherInvoke", ReadsAnotherInvoke},
      {"ReleasesTooEarly", ReleasesTooEarly},
      {"LeavesTooEarly", LeavesTooEarly},
      {"TakesTheOtherBranch", TakesTheOtherBranch},
      {"IgnoresABranch", IgnoresABranch},
      {"YieldsOfTheOtherBranch", YieldsOfTheOtherBranch},
      {"SwapsArguments", SwapsArguments},
      {"SavesAnotherValue", SavesAnotherValue},
      {"ForgetsASkip", ForgetsASkip},
      {"DoesNotCopyARead", DoesNotCopyARead},
      {"MixesThePointsOfASweep", MixesThePointsOfASweep},
      {"LosesAWrittenGradient", LosesAWrittenGradient},
      {"ReadsAnotherGradient", ReadsAnotherGradient},
      {"CarriesNothingOn", CarriesNothingOn},
      {"DoesInEveryStepWhatOneHas", DoesInEveryStepWhatOneHas},
  };
  return *kBugs;
}

}  // namespace weft::reference
