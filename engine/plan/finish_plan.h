#pragma once

#include "engine/plan/model_spec.h"
#include "engine/plan/plan.h"

namespace weft::plan {

/// The last step of planning, on instructions in written order whose slots are below `slots`: drop
/// what nobody can observe, find where each invoke's rows may leave the pass, sort by time, and
/// tell each slot's last use. `stops`: the program says where it ends.
void FinishPlan(Plan& plan, int slots, bool stops, const ModelSpec& model);

}  // namespace weft::plan
