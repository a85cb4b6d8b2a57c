#pragma once

#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/graph/program.h"
#include "engine/plan/model_spec.h"
#include "engine/plan/plan.h"

namespace weft::plan {

/// Nothing may be asked of the inside of a module that is skipped. Which statements meet in one
/// pass is known only once all are planned, so they are collected first.
class SkipCheck {
 public:
  /// A module that a statement skips: the sites between its input and its output.
  struct Skip {
    graph::NodeId node;
    int input, output, invoke, stage;
  };
  /// A site that a statement reads, writes or saves.
  struct Touch {
    graph::NodeId node;
    int site, invoke, stage;
  };

  void AddSkip(const Skip& skip) { skips_.push_back(skip); }
  void AddTouch(const Touch& touch) { touched_.push_back(touch); }

  /// `plan` has the traces, with their regions, and the invokes. kInvalidArgument naming the
  /// statement that overlaps with a skip, and the skip.
  absl::Status Check(const graph::Program& program, const ModelSpec& model, const Plan& plan);

 private:
  static bool SameRows(const Plan& plan, int a, int b);
  /// Whether statements of two stages may meet in one pass.
  bool SamePass(const Plan& plan, int a, int b);

  std::vector<Skip> skips_;
  std::vector<Touch> touched_;
  std::map<std::pair<int, int>, bool> meet_;  // stages, as far as was asked
};

}  // namespace weft::plan
