#pragma once

#include <ATen/core/ivalue.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"
#include "engine/plan/model_spec.h"
#include "engine/plan/plan.h"
#include "engine/run/beam_search.h"
#include "engine/run/host_copies.h"
#include "engine/run/kv_cache.h"
#include "engine/run/memory_account.h"
#include "engine/run/pass.h"
#include "engine/run/row_text.h"
#include "engine/run/sampling.h"

namespace weft::run {

/// What a run needs of the model beyond its pass.
class Host {
 public:
  virtual ~Host() = default;
  /// A parameter or buffer as in the checkpoint. The run does not change it.
  virtual absl::StatusOr<at::Tensor> Parameter(const std::string& path) const = 0;
  /// Call a module out of band: nothing listens. `segment` tells whose rows `input` is where the
  /// module looks at whole prompts; nullptr where every row stands for itself. `watcher`, where
  /// there is one, listens all the same. Rows pass through `adapter`, where there is one.
  virtual absl::StatusOr<c10::IValue> CallModule(int module, const at::Tensor& input,
                                                 const Segment* segment, Watcher* watcher,
                                                 const Adapter* adapter) const = 0;
  /// Where the values of a program go that it brings along.
  virtual at::Device device() const = 0;
  /// Values may lie on other devices than the CPU.
  virtual bool placed() const = 0;
  /// The adapter that traces choose by `name`; nullptr if there is none.
  virtual const Adapter* FindAdapter(const std::string& name) const = 0;
};

/// Bounds of one run; 0 means none.
struct RunLimits {
  double shared_operator_seconds = 0;  // in a pass with others
  double operator_seconds = 0;         // alone
  uint64_t log_bytes = 1 << 20;
  uint64_t memory_bytes = 0;  // that its values, results and operators hold at a time
};

/// What a model says of tokens.
struct TokenOptions {
  bool pad_left = true;  // on which side rows of different lengths are padded
  int64_t pad_id = 0;
  std::vector<int64_t> eos_ids;  // that end a generation, unless the program names others
  // Of ids that a program computes; 0: no bound.
  int64_t vocabulary = 0;
  int64_t max_tokens = 0;  // also of activations
  Decode decode;           // empty: there is no tokenizer
};

/// What one row of a generation has come to.
struct GeneratedRow {
  std::vector<int64_t> ids;     // prompt and new tokens, without pads
  size_t prompt = 0;            // how many of them are the prompt's
  uint64_t key = 0;             // RowKey
  bool over = false;            // something has ended it
  std::optional<RowText> text;  // where somebody wants it
};

/// What one invoke of a generation has come to.
struct Generated {
  at::Tensor ids, mask;  // `[B, tokens so far]` int64
  std::vector<GeneratedRow> rows;
  /// Of a beam search, instead: one for each prompt. What they return is `ids` once it has ended.
  std::vector<BeamSearch> searches;
  at::Tensor scores;   // then, `[B]`
  bool ended = false;  // all rows are over
  std::unique_ptr<KVCache> cache;
  /// Where rows have the same prompt and nobody sees them pass it: each prompt once, and how many
  /// rows have it.
  InvokeInput prompts;
  int64_t rows_of_prompt = 1;
  InvokeInput next;  // of its next step; once it has ended, InvokeInput::MakeAbsent
};

/// What a step of a generation chose for one invoke.
struct NewTokens {
  int invoke = 0;  // an index into Plan::invokes
  int64_t step = 0;
  std::vector<int64_t> ids;  // by row; -1 where it was over
  std::vector<std::string> texts;
};

/// Something that the program saved: a value, or an item of a list.
struct SavedItem {
  int save = 0;                  // an index into Plan::saves
  std::optional<uint32_t> step;  // of a save inside `steps`
  uint32_t visit = 0;            // of a cache's entry, counted over all steps
  c10::IValue value;
};

struct LogEntry {
  graph::NodeId node;
  std::string label, text;
};

/// One program being executed: a state machine that passes visit. Its frame holds the values, each
/// until its last use.
///
/// A pass is `Begin`, `Visit` at the sites where it listens, `EndPass`; it is repeated until the
/// run is finished. What a pass did counts from EndPass on: after one that broke, Begin starts
/// again from what counted before.
///
/// Everything but Cancel, rows and memory is called from the pass's thread.
class Run {
 public:
  /// `plan`, `program`, `spec` and `host` must outlive the run. `inputs`: those of each invoke node
  /// in written order (see graph::Program::InputsOf; that of `invoke { }` is not looked at).
  Run(const plan::Plan& plan, const graph::Program& program, const plan::ModelSpec& spec,
      const Host& host, std::vector<InvokeInput> inputs, const RunLimits& limits,
      absl::Time deadline, const TokenOptions& tokens);

  const plan::Plan& plan() const { return plan_; }
  /// What random operators draw from, together with the step and their statement: equal seeds give
  /// equal numbers, whoever else is in the pass. Before the first pass.
  void set_seed(uint64_t seed) { seed_ = seed; }
  /// Collect the tokens that generations choose, for TakeNewTokens. Before the first pass.
  void set_stream_tokens(bool stream) { stream_tokens_ = stream; }
  /// Of this pass: one per invoke that has rows of its own, in written order.
  std::vector<Segment>& segments() { return segments_; }
  /// Where it listens in this pass.
  absl::Span<const int> taps() const { return tap_ids_; }
  /// And inside which modules, in this pass.
  absl::Span<const Watch> watches() const { return watches_; }
  /// Whether it reads or writes the rows of an invoke at a site, or those that others have in
  /// common with it.
  bool Touches(int time, int invoke) const;
  absl::Span<const int> times() const { return stage_->times; }
  /// The module that this pass calls; the model itself is 0.
  int root() const { return trace().root; }
  /// This pass goes backwards.
  bool gradients() const { return trace().gradients; }
  /// Rows that it brings into its next pass, pads included. Thread-safe.
  int64_t rows() const { return rows_.load(std::memory_order_relaxed); }

  /// A pass begins: what comes before its first site.
  void Begin(bool shared);
  void Visit(Visiting& site);
  /// The pass is over, and what it did counts. `result` is what the root returned, packed;
  /// undefined where nobody's rows came so far. Visits the sites of the next token, and chooses
  /// that of a generation.
  void EndPass(Pass& pass, const at::Tensor& result);
  /// The next pass is a later step of a generation.
  bool generating() const { return step_ > 0; }
  /// Nothing is left to do. A run that has ended is not.
  bool finished() const { return finished_; }

  /// Ask it to stop; noticed within a layer. Thread-safe.
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  /// It was cancelled or is late. Thread-safe.
  bool over(absl::Time now) const {
    return cancelled_.load(std::memory_order_relaxed) || now > deadline_;
  }
  /// Fail if it is over.
  void CheckAlive(absl::Time now);
  void Fail(absl::Status status);

  /// It failed, or must be run again alone: it does nothing more in this pass.
  bool ended() const { return !status_.ok() || evicted_; }
  const absl::Status& status() const { return status_; }
  /// Its own operators took longer than a shared pass allows: run it again alone.
  bool evicted() const { return evicted_; }

  /// What was saved in passes that count and not taken yet, in order. Tensors are on the host and
  /// own no more memory than they show.
  const std::vector<SavedItem>& saved() const { return saved_; }
  std::vector<SavedItem> TakeSaved();
  /// How many items each of Plan::saves has got in all.
  const std::vector<int64_t>& saved_counts() const { return saved_counts_; }
  /// Why a list or value of a finished run lacks something; empty where it does not.
  std::string MissingFrom(int save) const;
  const std::vector<LogEntry>& logs() const { return logs_; }
  std::vector<LogEntry> TakeLogs();
  std::vector<NewTokens> TakeNewTokens() { return std::exchange(new_tokens_, {}); }
  /// What its values, results and operators hold. Thread-safe.
  const MemoryAccount& memory() const { return memory_; }
  double operator_seconds() const { return operator_seconds_ + pass_operator_seconds_; }

 private:
  absl::Status Execute(const plan::Instruction& instruction, Visiting* site);
  absl::Status ExecuteRange(int first, int last, Visiting* site);
  /// Looked at between instructions: time and cancellation.
  absl::Status CheckBudget();

  absl::StatusOr<c10::IValue> Do(const plan::ReadSite& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::ReadInvoke& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::LoadConstant& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::LoadPlain& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::LoadParameter& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::CallOperator& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::TakeItem& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::MakeStructure& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::ReplacePart& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::CallModule& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::WriteSite& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::SkipModule& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::SaveValue& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::SaveSite& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::SetCarry& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::TakeCarry& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::ChooseValue& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::ReadResult& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::StopRun& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::LogValue& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::BringInput& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::RunBackward& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::ReadGradient& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::WriteGradient& what, Visiting* site);
  // watched_call.cc
  absl::StatusOr<c10::IValue> Do(const plan::CallWatched& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::ReadInside& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::WriteInside& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::SkipInside& what, Visiting* site);
  absl::StatusOr<c10::IValue> Do(const plan::TakeCalled& what, Visiting* site);

  /// Write `value` into the part of `whole` that `steps` lead to, as copy_ does.
  absl::Status WritePart(c10::IValue whole, const std::vector<plan::ViewStep>& steps,
                         const at::Tensor& value);
  absl::Status CheckRange(const at::Tensor& values, int64_t range) const;
  /// No gradient of zeros comes back to one invoke from the rows of another.
  bool stops_zero_gradients() const { return gradients() && segments_.size() > 1; }
  /// Of the region that is going backwards: what an instruction has made depends on one of its
  /// points; or a gradient comes from what depends on that.
  bool DependsOnPoints(int instruction);
  bool HasGradient(int instruction);
  /// A value that rows of the pass become.
  c10::IValue ForRows(plan::Slot slot);
  /// What a module is called with out of band, checked; and whose rows it is, if that matters.
  absl::StatusOr<at::Tensor> ArgumentOf(int module, plan::Slot input) const;
  const Segment* SegmentFor(int module, int invoke) const;
  bool IsTrue(plan::Slot condition) const;
  bool Holds(int guard) const;
  void Save(int save, const c10::IValue& value, std::optional<graph::DType> dtype);
  c10::IValue ReadRows(int invoke, Visiting& site);

  const plan::PlannedTrace& trace() const { return plan_.traces[trace_]; }
  /// Of `invoke`: its own segment, or those of all in its place, also where their generation has
  /// ended.
  absl::Span<Segment* const> SegmentsOf(int invoke);
  /// Some of its rows are in this pass: its generation has not ended.
  bool HasRows(int invoke) const;
  /// Steps of its generation that have come to `invoke`.
  int64_t CameTo(int invoke) const;
  /// The segments and listeners of the pass that comes next.
  void PreparePass();
  void BeginStage(const plan::Stage& stage);
  absl::Status Advance(Pass& pass, const at::Tensor& result);
  /// Whether this pass is to choose tokens.
  bool Chooses() const;
  /// Visit the sites of the next token; undefined where nothing was chosen, else what was, by the
  /// segments that are present. Nothing may come of it where the run has ended meanwhile.
  absl::StatusOr<std::vector<at::Tensor>> ChooseTokens(Pass& pass, const at::Tensor& result);
  /// Whether the next token of each row is the likeliest.
  bool TakesLikeliest() const;
  /// The tokens `best`, whose logits are `logits`, both `[B, 1]`; undefined where one of them may
  /// not come yet.
  absl::StatusOr<at::Tensor> Accept(const Segment& segment, const at::Tensor& best,
                                    const at::Tensor& logits) const;
  absl::StatusOr<at::Tensor> Draw(const Segment& segment, const at::Tensor& logits) const;
  const graph::GenerateOptions& options() const;
  /// How many rows have each prompt, where each prompt is to be passed once: rows that nobody sees
  /// on the way. 1 where every row passes its own.
  int64_t RowsOfPrompt() const;
  void BeginGeneration(Generated& generated, const InvokeInput& prompts);
  /// Take what was chosen; false if all generations of this trace are over.
  absl::StatusOr<bool> TakeTokens(Pass& pass, absl::Span<const at::Tensor> chosen);
  absl::Status TakeToken(GeneratedRow& row, int64_t id, std::string* text) const;
  /// The prompts are passed and count: those that share one have rows of their own from here on.
  void CommitTokens(const Segment& segment, Generated& generated);
  // beams.cc
  void BeginSearch(Generated& generated, const InvokeInput& prompts);
  /// As TakeTokens, of a beam search: of `logits`, which nobody has changed.
  absl::StatusOr<bool> SearchOn(Pass& pass, absl::Span<const at::Tensor> logits);
  absl::Status GoOn(Generated& generated, const at::Tensor& logits);
  /// What the searches have found is the result.
  void EndSearch(int invoke, Generated& generated);
  absl::Status TellFound(int invoke, const Generated& generated);
  /// Somebody reads or writes at a site in this pass.
  bool Listens(int time) const;
  void VisitNext(Pass& pass, int time, std::vector<at::Tensor>& parts);
  absl::Status EndTrace();
  /// What was saved has come to the host.
  void AwaitCopies();
  void CountRows();
  /// What an invoke of this trace begins with.
  const InvokeInput& InputOf(int invoke) const {
    const plan::PlannedInvoke& planned = plan_.invokes[invoke];
    return planned.brought ? brought_[invoke] : inputs_[planned.input];
  }
  /// Token ids that the program computed, as prompts.
  absl::StatusOr<InvokeInput> Prompts(const at::Tensor& ids, const at::Tensor& mask,
                                      const plan::PlannedTrace& trace) const;

  const plan::Plan& plan_;
  const graph::Program& program_;
  const plan::ModelSpec& spec_;
  const Host& host_;
  const Adapter* adapter_ = nullptr;  // of the current trace
  const std::vector<InvokeInput> inputs_;
  const RunLimits limits_;
  const absl::Time deadline_;
  const TokenOptions tokens_;
  uint64_t seed_ = 0;
  bool stream_tokens_ = false;

  MemoryAccount memory_;

  // What counts: where it is, and what passes hand on.
  int trace_ = 0;
  int64_t step_ = 0;
  std::vector<c10::IValue> kept_;  // the frame before this pass
  size_t kept_saves_ = 0, kept_logs_ = 0;
  std::vector<Generated> generated_;     // by Plan::invokes; of this trace's generations
  std::vector<int64_t> came_;            // by Plan::invokes: passes that it had rows in
  std::vector<InvokeInput> brought_;     // by Plan::invokes; of this trace and the next
  std::optional<TokenChooser> chooser_;  // of this trace
  std::vector<NewTokens> new_tokens_;    // that were not taken yet
  std::atomic<int64_t> rows_{0};
  bool begun_ = false;
  bool finished_ = false;

  // Of the pass.
  const plan::Stage* stage_ = nullptr;
  std::vector<Segment> segments_;
  std::vector<int> segment_of_invoke_;  // -1 for `invoke { }`
  std::vector<Segment*> together_;      // what SegmentsOf gave last
  int together_of_ = -1;
  std::vector<int> tap_ids_;
  std::vector<Watch> watches_;
  std::vector<c10::IValue> frame_;
  std::vector<Segment> ended_;  // of the invokes of this trace that have; in no pass
  std::vector<std::pair<plan::Slot, c10::IValue>> carries_;  // of the next step
  std::vector<SavedItem> saved_;
  std::vector<int64_t> saved_counts_;
  std::vector<LogEntry> logs_;
  uint64_t log_bytes_ = 0;
  uint64_t told_log_bytes_ = 0;  // of what was taken
  HostCopies copies_;            // of `saved_`
  bool written_ = false;         // at the site that is being visited
  /// What was read there for a gradient since the last write, by invoke and ReadSite::point: it is
  /// read once.
  absl::flat_hash_map<std::pair<int, bool>, c10::IValue> read_;
  std::vector<bool> ran_;  // by instruction of the stage
  /// Of the region that is going backwards, and by instruction, empty until somebody wants to know:
  /// see DependingOn and NeededFor.
  struct Asked {
    absl::Span<const plan::Slot> points;
    std::vector<plan::Slot> sources;  // of gradients: the loss, and points where they are written
    std::vector<bool> depending, needed;
  };
  Asked asked_;
  std::vector<at::Tensor> gradients_;  // by point of the region that is going backwards
  int at_ = 0;                         // the instruction that is being executed
  /// A watched call while it is made.
  struct Watching {
    Pass* pass = nullptr;              // of the call
    size_t leading = 0;                // dimensions of its argument that are rows
    const OutputForm* form = nullptr;  // at the site that is being visited
    at::Tensor rows;                   // there, in the shape of the call's argument
    bool changed = false;
    int end = 0;  // behind its instructions
  };
  Watching watching_;
  c10::IValue called_;  // what the last one returned
  graph::NodeId node_ = graph::kNoNode;
  graph::NodeId stopped_ = graph::kNoNode;  // by this statement
  double operator_seconds_ = 0;             // of passes that count
  double pass_operator_seconds_ = 0;
  bool asks_for_gradient_ = false;  // the instruction that is being executed
  bool shared_ = false;
  bool evicted_ = false;
  std::atomic<bool> cancelled_{false};
  absl::Status status_;
};

/// A value for the client: tensors are shared, not copied, where they are dense and on the host.
graph::HostValue ToHostValue(const c10::IValue& value);

}  // namespace weft::run
