#include "engine/run/dependence.h"

#include <algorithm>
#include <type_traits>
#include <variant>
#include <vector>

#include "engine/plan/operands.h"

namespace weft::run {
namespace {

using plan::Instruction;
using plan::Slot;

template <typename What>
constexpr bool kWritesRows =
    std::is_same_v<What, plan::WriteSite> || std::is_same_v<What, plan::SkipModule>;
template <typename What>
constexpr bool kWritesInside =
    std::is_same_v<What, plan::WriteInside> || std::is_same_v<What, plan::SkipInside>;

/// Each invoke whose rows `invoke` has: itself, or those of `invoke { }`.
template <typename Visit>
void ForRows(int invoke, const Done& done, const Visit& visit) {
  if (!done.plan.invokes[invoke].all_rows) return visit(invoke);
  for (const int each : done.trace.invokes) {
    const plan::PlannedInvoke& planned = done.plan.invokes[each];
    if (!planned.all_rows && planned.group == done.plan.invokes[invoke].group) visit(each);
  }
}

plan::Sharing SharingOf(int invoke, const Done& done) {
  const auto& sharing = done.stage.sharing;
  return invoke < static_cast<int>(sharing.size()) ? sharing[invoke] : plan::Sharing();
}

}  // namespace

std::vector<bool> DependingOn(absl::Span<const Slot> points, const Done& done) {
  constexpr int kNever = plan::Sharing::kNever;
  const std::vector<Instruction>& instructions = done.stage.instructions;
  std::vector<bool> slots(done.plan.slots, false);
  for (const Slot point : points) slots[point] = true;
  // Of an item, what it is taken from is what rows were read as.
  for (auto it = instructions.rbegin(); it != instructions.rend(); ++it) {
    const auto* item = std::get_if<plan::TakeItem>(&it->what);
    if (item != nullptr && slots[it->result]) slots[item->from] = true;
  }
  std::vector<int> since(done.plan.invokes.size(), kNever);  // which time its rows depend
  std::vector<bool> depending(instructions.size(), false);
  for (size_t i = 0; i < instructions.size(); ++i) {
    if (!done.ran[i]) continue;
    const Instruction& instruction = instructions[i];
    const int time = instruction.time;
    bool depends = instruction.result != plan::kNoSlot && slots[instruction.result];
    plan::ForOperands(instruction, [&](Slot slot) { depends = depends || slots[slot]; });
    const auto with_rows = [&](const auto& what) {
      using What = std::decay_t<decltype(what)>;
      if constexpr (std::is_same_v<What, plan::ReadSite> || kWritesRows<What>) {
        if (depends) {  // what is read, too, is what these rows go on as
          ForRows(what.invoke, done, [&](int each) { since[each] = std::min(since[each], time); });
        }
      }
      if constexpr (std::is_same_v<What, plan::ReadSite>) {
        ForRows(what.invoke, done, [&](int each) {
          const plan::Sharing sharing = SharingOf(each, done);
          depends = depends || since[each] != kNever ||
                    (sharing.with >= 0 && since[sharing.with] <= std::min(time, sharing.until));
        });
      } else if constexpr (kWritesInside<What> || std::is_same_v<What, plan::ReadInside>) {
        if (depends) slots[what.begun] = true;  // the rows of that call
      }
    };
    std::visit(with_rows, instruction.what);
    if (instruction.result != plan::kNoSlot) slots[instruction.result] = depends;
    depending[i] = depends;
  }
  return depending;
}

std::vector<bool> NeededFor(absl::Span<const Slot> values, const Done& done) {
  const std::vector<Instruction>& instructions = done.stage.instructions;
  std::vector<bool> slots(done.plan.slots, false);
  for (const Slot value : values) slots[value] = true;
  // Up to which time what becomes of its rows matters.
  std::vector<int> until(done.plan.invokes.size(), plan::kStart - 1);
  std::vector<bool> needed(instructions.size(), false);
  for (size_t i = instructions.size(); i-- > 0;) {
    if (!done.ran[i]) continue;
    const Instruction& instruction = instructions[i];
    const int time = instruction.time;
    bool needs = instruction.result != plan::kNoSlot && slots[instruction.result];
    const auto with_rows = [&](const auto& what) {
      using What = std::decay_t<decltype(what)>;
      if constexpr (std::is_same_v<What, plan::ReadSite>) {
        if (!needs) return;
        ForRows(what.invoke, done, [&](int each) {
          until[each] = std::max(until[each], time);
          const plan::Sharing sharing = SharingOf(each, done);
          if (sharing.with < 0) return;
          until[sharing.with] = std::max(until[sharing.with], std::min(time, sharing.until));
        });
      } else if constexpr (kWritesRows<What>) {
        ForRows(what.invoke, done, [&](int each) { needs = needs || time <= until[each]; });
      } else if constexpr (kWritesInside<What>) {
        needs = needs || slots[what.begun];
      }
    };
    std::visit(with_rows, instruction.what);
    if (needs) plan::ForOperands(instruction, [&](Slot slot) { slots[slot] = true; });
    needed[i] = needs;
  }
  return needed;
}

}  // namespace weft::run
