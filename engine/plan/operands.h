#pragma once

#include <type_traits>
#include <variant>
#include <vector>

#include "engine/plan/plan.h"

namespace weft::plan {

/// Call `visit` with every slot that fills an argument of a call.
template <typename Call, typename Visit>
void ForSlots(Call& call, const Visit& visit) {
  for (auto& fill : call.fills) {
    if (auto* slot = std::get_if<Slot>(&fill.from)) {
      visit(*slot);
    } else {
      for (auto& each : std::get<std::vector<Slot>>(fill.from)) {
        if (each != kNoSlot) visit(each);
      }
    }
  }
}

/// Call `visit` with every slot that an instruction reads; they may be changed where it is not
/// const.
template <typename AnInstruction, typename Visit>
void ForOperands(AnInstruction& instruction, const Visit& visit) {
  const auto for_steps = [&](auto& steps) {
    for (auto& step : steps) ForSlots(step.call, visit);
  };
  const auto each = [&](auto& what) {
    using What = std::remove_const_t<std::remove_reference_t<decltype(what)>>;
    if constexpr (std::is_same_v<What, CallOperator>) {
      ForSlots(what.call, visit);
    } else if constexpr (std::is_same_v<What, TakeItem>) {
      visit(what.from);
    } else if constexpr (std::is_same_v<What, MakeStructure>) {
      for (auto& slot : what.items) visit(slot);
    } else if constexpr (std::is_same_v<What, ReplacePart>) {
      visit(what.base);
      visit(what.value);
      for_steps(what.steps);
    } else if constexpr (std::is_same_v<What, CallModule> || std::is_same_v<What, CallWatched>) {
      visit(what.input);
    } else if constexpr (std::is_same_v<What, WriteSite>) {
      visit(what.value);
      for_steps(what.steps);
    } else if constexpr (std::is_same_v<What, SkipModule> || std::is_same_v<What, SaveValue> ||
                         std::is_same_v<What, SetCarry> || std::is_same_v<What, LogValue>) {
      visit(what.value);
    } else if constexpr (std::is_same_v<What, BringInput>) {
      visit(what.value);
      if (what.mask != kNoSlot) visit(what.mask);
    } else if constexpr (std::is_same_v<What, SkipInside>) {
      visit(what.begun);
      visit(what.value);
    } else if constexpr (std::is_same_v<What, TakeCarry>) {
      visit(what.carry);
    } else if constexpr (std::is_same_v<What, ChooseValue>) {
      visit(what.condition);
      visit(what.then);
      visit(what.otherwise);
    } else if constexpr (std::is_same_v<What, RunBackward>) {
      visit(what.loss);
      if (what.gradient != kNoSlot) visit(what.gradient);
      for (auto& slot : what.points) visit(slot);
    } else if constexpr (std::is_same_v<What, ReadGradient> || std::is_same_v<What, ReadInside> ||
                         std::is_same_v<What, TakeCalled>) {
      visit(what.begun);
    } else if constexpr (std::is_same_v<What, WriteGradient> || std::is_same_v<What, WriteInside>) {
      visit(what.begun);
      visit(what.value);
      for_steps(what.steps);
    } else {
      static_assert(std::is_same_v<What, ReadSite> || std::is_same_v<What, ReadInvoke> ||
                    std::is_same_v<What, LoadConstant> || std::is_same_v<What, LoadPlain> ||
                    std::is_same_v<What, LoadParameter> || std::is_same_v<What, SaveSite> ||
                    std::is_same_v<What, ReadResult> || std::is_same_v<What, StopRun>);
    }
  };
  std::visit(each, instruction.what);
}

}  // namespace weft::plan
