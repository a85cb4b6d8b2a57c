#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/graph/error.h"
#include "engine/graph/lint.h"
#include "engine/graph/program.h"
#include "engine/graph/syntax.h"

namespace weft::graph {

/// One check of one program, behind Check of lint.h: nodes in order, each against the containers
/// that are open at its place. Every function returns false once `status_` is set. Used once.
class Checker {
 public:
  Checker(const Program& program, const ProgramLimits& limits)
      : program_(program), limits_(limits) {}

  absl::Status Run();

 private:
  /// A container whose nodes are being looked at.
  struct Frame {
    NodeId id = kNoNode;
    bool empty = true;
    bool has_rows = false;       // of a trace or a sweep: an invoke with an input of its own
    NodeId all_rows = kNoNode;   // of a trace or a sweep
    bool sweeps = false;         // of a trace
    uint32_t carries = 0;        // of steps, so far
    NodeId yield = kNoNode;      // which ends this region
    NodeId stop = kNoNode;       // of a branch: nothing after it in this region runs
    uint32_t branches = 0;       // of an `if`, so far
    size_t yielded[2] = {0, 0};  // by its branches
  };

  bool FailAt(NodeId id, const std::string& message, const std::string& hint = "",
              absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    status_ = StatementError(code, program_, id, message, hint);
    return false;
  }
  bool Fail(const std::string& message, const std::string& hint = "",
            absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    return FailAt(id_, message, hint, code);
  }
  template <typename Kind>
  bool Is(NodeId id) const {
    return std::holds_alternative<Kind>(program_.at(id).kind);
  }

  // Places: check_place.cc.
  bool CheckPlace();
  bool CheckTracePlace();
  bool CheckParent(NodeId parent);
  bool CheckStandsIn(NodeId parent);
  bool CheckInBackward();
  bool CheckStepsPlace(NodeId parent);
  bool CheckBranch(const Branch& branch, Frame& frame);
  bool CheckCarry(const Carry& carry, Frame& frame);
  bool CheckYield(const Yield& yield, Frame& frame);
  bool CheckResult(const RegionResult& result);
  bool CheckNothingRunsBefore(const Frame& frame);
  bool Enter();
  /// What must hold at the end of the innermost container.
  bool Leave();
  /// Whether there are rows for each invoke of a trace or a sweep; `none` says that it has no
  /// invoke.
  bool CheckRows(const Frame& frame, const std::string& none);
  bool LeaveSteps(const Frame& frame);
  bool LeaveIf(const Frame& frame);
  bool CheckUses();
  /// True if of the two nodes at most one runs: they stand in different branches of one `if`.
  bool Exclusive(NodeId a, NodeId b) const;

  // What a node says: check.cc.
  bool CheckName();
  bool CheckSavedName(const std::string& name);
  bool CheckTrace(const Trace& trace);
  bool CheckGenerate(const GenerateOptions& options);
  bool CheckSampling(const GenerateOptions& options);
  bool CheckEnds(const GenerateOptions& options);
  bool CheckSweep(const Sweep& sweep);
  bool CheckInvoke(const Invoke& invoke);
  bool CheckChats(const ChatInput& chats);
  bool CheckConstant(const Constant& constant);
  bool CheckSite(const Site& site);
  bool CheckSitePath(const Site& site);
  bool CheckModule(const std::string& module);
  enum class UseOf { kArgument, kIndex, kPath };
  bool CheckUse(const SweepUse& use, UseOf as);
  bool CheckSlice(const Slice& slice);
  bool CheckTerms(const std::vector<IndexTerm>& terms);
  bool CheckArguments(const std::vector<Argument>& arguments, bool named);
  bool CheckArgumentValues(const std::vector<Argument>& arguments, int list_depth);
  bool CheckStructure(const Structure& structure);
  bool CheckAssign(const Assign& assign);
  bool CheckSave(const Save& save);
  bool CheckCache(const Cache& cache);
  bool CheckSteps(const Steps& steps);
  bool CheckKind();
  bool CheckFloatDType(const std::optional<DType>& dtype);
  bool CheckCount(size_t count, const char* what);
  bool CheckText(const std::string& text, const char* what) {
    return IsUtf8(text) || Fail(absl::StrCat(what, " is not valid UTF-8"));
  }

  const Program& program_;
  const ProgramLimits& limits_;
  absl::Status status_;
  NodeId id_ = kNoNode;
  const Node* node_ = nullptr;

  std::vector<Frame> frames_;
  /// Of each node the innermost container around it whose values are not seen outside it.
  std::vector<NodeId> scopes_;
  std::vector<bool> open_;  // containers
  NodeId stop_ = kNoNode;   // nothing after it in the program runs
  /// The region that has just ended, what it yields, and which result may come next.
  NodeId ended_ = kNoNode;
  size_t ended_values_ = 0;
  uint32_t next_result_ = 0;

  /// The sweep around this, and what its parameters may be used for.
  NodeId sweep_ = kNoNode;
  struct Swept {
    bool ints = false;
    bool component = false;  // of a path
  };
  std::vector<Swept> parameters_;
  absl::flat_hash_set<absl::string_view> parameter_names_;

  uint64_t constant_bytes_ = 0;
  uint64_t argument_count_ = 0;
  uint64_t sweep_values_ = 0;
  absl::flat_hash_map<absl::string_view, NodeId> values_;  // names are the program's
  /// More than one node of a name only where they exclude each other.
  absl::flat_hash_map<absl::string_view, absl::InlinedVector<NodeId, 1>> saves_;
};

}  // namespace weft::graph
