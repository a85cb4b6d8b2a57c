#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/graph/program.h"
#include "engine/models/hosted_model.h"
#include "engine/plan/planner.h"
#include "engine/run/run.h"

namespace weft::testing {

/// What one program gave.
struct LocalResult {
  absl::Status status;
  /// What was saved, by name; the tensors of a structure are `name/0`, `name/logits`. Of a sweep's
  /// point and of a step `name/POINT/STEP`, of a cache `name/SITE`.
  std::map<std::string, at::Tensor> saved;
  /// Why a name has no value, or not all of its items.
  std::map<std::string, std::string> missing;
  std::vector<run::LogEntry> logs;
  bool evicted = false;

  /// A saved tensor; fails the test and is undefined if there is none.
  at::Tensor operator[](const std::string& name) const;
};

/// How programs are run; the defaults are without bounds.
struct LocalOptions {
  plan::PlanLimits plan;
  run::RunLimits run;
  uint64_t seed = 0;
};

/// A Hub folder hosted in this process, in which programs in the text form run without an engine, a
/// queue or a tokenizer: their invokes give token ids, and the text of tokens is `[39][72]`. Not
/// thread-safe.
class LocalModel {
 public:
  /// Host a folder, where $WEFT_TEST_DEVICES says (`cuda:0`, or `fake:0,fake:1`: see fake_device.h)
  /// or on the CPU. A folder that cannot be hosted ends the test program, with the reason.
  explicit LocalModel(const std::string& folder, bool pad_left = true,
                      const models::NetworkOptions& options = {});
  /// Take a model that a test has made.
  explicit LocalModel(std::unique_ptr<models::HostedModel> hosted) : hosted_(std::move(hosted)) {}

  /// tests/parity/gpt2-tiny, hosted once for a test program. Tests run in the repository's root.
  static LocalModel& Tiny();

  models::HostedModel& hosted() { return *hosted_; }
  const plan::ModelSpec& spec() const { return hosted_->spec(); }

  /// Parse, check and plan.
  absl::StatusOr<plan::Plan> Plan(const std::string& text) const;
  /// The same, and what it comes to.
  absl::StatusOr<plan::PlanCheck> Check(const std::string& text,
                                        const plan::PlanLimits& limits = {}) const;

  /// Run one program in passes of its own.
  LocalResult Run(const std::string& text, const LocalOptions& options = {});
  /// Run programs in shared passes, until all are finished. A program that is refused before it
  /// runs is not in the pass.
  std::vector<LocalResult> RunTogether(const std::vector<std::string>& texts,
                                       const LocalOptions& options = {});
  /// Run a program by a plan that was made before, perhaps for another of its kind.
  LocalResult RunPlanned(const plan::Plan& plan, const graph::Program& program,
                         const LocalOptions& options = {});

 private:
  struct Prepared;
  absl::StatusOr<std::unique_ptr<Prepared>> Prepare(const std::string& text,
                                                    const LocalOptions& options) const;
  absl::Status RunPasses(std::vector<run::Run*> runs);
  run::TokenOptions Tokens() const;
  static LocalResult ResultOf(run::Run& run);

  std::unique_ptr<models::HostedModel> hosted_;
};

/// Parse the text form and check what concerns the program alone.
absl::StatusOr<graph::Program> ParseAndCheck(const std::string& text);

/// The counts of a program's inputs, which must be of token ids, or values that it computes.
std::vector<plan::RowCount> CountRows(const graph::Program& program);

}  // namespace weft::testing
