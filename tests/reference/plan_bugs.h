#pragma once

#include <vector>

#include "tests/reference/compare.h"

namespace weft::reference {

/// A bug that a planner could have, planted in what it made.
struct NamedBug {
  const char* name;
  PlanBug plant;
};

const std::vector<NamedBug>& PlanBugs();

}  // namespace weft::reference
