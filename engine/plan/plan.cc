#include "engine/plan/plan.h"

#include <algorithm>

namespace weft::plan {

bool Selection::Has(int64_t step) const {
  if (!list.empty()) return std::binary_search(list.begin(), list.end(), step);
  return step >= first && (end < 0 || step < end) && (step - first) % stride == 0;
}

int64_t Selection::CountBelow(int64_t count) const {
  if (!list.empty()) return std::lower_bound(list.begin(), list.end(), count) - list.begin();
  const int64_t stop = end < 0 ? count : std::min(end, count);
  return stop <= first ? 0 : (stop - first - 1) / stride + 1;
}

int64_t Selection::LastBelow(int64_t count) const {
  const int64_t selected = CountBelow(count);
  if (selected == 0) return -1;
  return list.empty() ? first + (selected - 1) * stride : list[selected - 1];
}

size_t Plan::CountInstructions() const {
  size_t count = 0;
  for (const PlannedTrace& trace : traces) {
    for (const Stage& stage : trace.stages) count += stage.instructions.size();
    count += trace.stage_of.size() * sizeof(int) / sizeof(Instruction);
  }
  return count;
}

}  // namespace weft::plan
