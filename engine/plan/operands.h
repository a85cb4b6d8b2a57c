#pragma once

#include <variant>
#include <vector>

#include "engine/plan/plan.h"

namespace weft::plan {

/// Call `visit` with every slot that a call reads.
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
    void operator()(LoadPlain&) const {}
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
    void operator()(SaveSite&) const {}
    void operator()(SetCarry& what) const { visit(what.value); }
    void operator()(TakeCarry& what) const { visit(what.carry); }
    void operator()(ChooseValue& what) const {
      visit(what.condition);
      visit(what.then);
      visit(what.otherwise);
    }
    void operator()(ReadResult&) const {}
    void operator()(StopRun&) const {}
    void operator()(BringInput& what) const {
      visit(what.value);
      if (what.mask != kNoSlot) visit(what.mask);
    }
    void operator()(LogValue& what) const { visit(what.value); }
    void operator()(RunBackward& what) const {
      visit(what.loss);
      if (what.gradient != kNoSlot) visit(what.gradient);
      for (Slot& slot : what.points) visit(slot);
    }
    void operator()(ReadGradient& what) const { visit(what.begun); }
    void operator()(CallWatched& what) const { visit(what.input); }
    void operator()(ReadInside& what) const { visit(what.begun); }
    void operator()(WriteInside& what) const {
      visit(what.begun);
      visit(what.value);
      for (ViewStep& step : what.steps) ForSlots(step.call, visit);
    }
    void operator()(SkipInside& what) const {
      visit(what.begun);
      visit(what.value);
    }
    void operator()(TakeCalled& what) const { visit(what.begun); }
    void operator()(WriteGradient& what) const {
      visit(what.begun);
      visit(what.value);
      for (ViewStep& step : what.steps) ForSlots(step.call, visit);
    }
  };
  std::visit(Each{visit}, instruction.what);
}

}  // namespace weft::plan
