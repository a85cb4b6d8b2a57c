#pragma once

#include <functional>
#include <string>

#include "engine/graph/program.h"
#include "engine/plan/plan.h"
#include "tests/reference/plain_model.h"
#include "tests/support/local_run.h"

namespace weft::reference {

/// How a run by the engine and the meaning that the reference gives stand to each other.
struct Verdict {
  enum class Kind {
    kAgree,         // the same values under the same names
    kBothRefuse,    // neither gives it a meaning
    kConservative,  // the engine refuses by one of the rules of the design, which need no reason
    kUnsupported,   // the reference does not know what to make of it
    kDisagree,
  };
  Kind kind = Kind::kAgree;
  std::string why;
  bool ran = false;  // the engine did not refuse it before
};

/// Change a plan before it runs, as a planner with a bug might have made it. False: there is
/// nothing in this plan to be changed so.
using PlanBug = std::function<bool(plan::Plan&)>;

/// Run a program in the text form both ways.
Verdict Compare(const PlainModel& model, const std::string& text, const PlanBug& bug = nullptr);

/// The model as the engine hosts it, once for a test program.
testing::LocalModel& Hosted(const PlainModel& model);

/// The smallest program that can be had from this one by leaving statements out, and of which
/// `fails` still holds.
std::string Shrink(const std::string& text, const std::function<bool(const std::string&)>& fails);

}  // namespace weft::reference
