#pragma once

#include <vector>

#include "absl/status/status.h"
#include "engine/plan/model_spec.h"
#include "engine/plan/plan.h"

namespace weft::plan {

/// Passes in their order, as Instruction::stage has them: a trace's first pass, then those of the
/// later steps of each of its regions, then what follows its last pass.
inline constexpr int kMaxRegions = 256;
inline constexpr int kStageKeys = kMaxRegions + 2;
inline int FirstKey(int trace) { return trace * kStageKeys; }
inline int RegionKey(int trace, int region) { return FirstKey(trace) + 1 + region; }
inline int AfterKey(int trace) { return FirstKey(trace) + kStageKeys - 1; }
inline bool OfLaterSteps(int key) {
  return key % kStageKeys != 0 && key % kStageKeys != kStageKeys - 1;
}

/// The last step of planning, on instructions in written order whose slots are below `slots`: drop
/// what nobody can observe, find where each invoke's rows may leave the pass, sort by pass and
/// time, and tell each slot's last use. `stops`: the program says where it ends.
/// kResourceExhausted where the stages take too much together.
absl::Status FinishPlan(Plan& plan, std::vector<Instruction> instructions, int slots, bool stops,
                        const ModelSpec& model);

}  // namespace weft::plan
