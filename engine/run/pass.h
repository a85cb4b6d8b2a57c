#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/plan/model_spec.h"

namespace weft::run {

struct Adapter;
class KVCache;
class Run;

/// What one invoke brings into a pass: token ids with its own pads, or given activations.
struct InvokeInput {
  at::Tensor ids;  // [B, T] int64; undefined where there are `values`
  /// What the root takes instead: `[B, T, ...]`, or `[B, ...]` where `flat`.
  at::Tensor values;
  /// What it takes beside them, in the order of its arguments.
  std::vector<at::Tensor> others;
  bool flat = false;     // rows have no tokens: each prompt is one, and T is 1
  at::Tensor mask;       // [B, T] int64, 1 at real tokens
  at::Tensor positions;  // [B, T] int64, counted over real tokens; 0 at pads before them
  bool padded = false;
  /// `[B, 1, T, T]` bool, only where there are pads: what may be looked at. Of a later step
  /// `[B, 1, 1, past + 1]`.
  at::Tensor attention_mask;

  /// `rows` shorter than the longest are padded on the left (or right) with `pad`. Made outside of
  /// InferenceMode.
  static InvokeInput Make(const std::vector<std::vector<int64_t>>& rows, int64_t pad,
                          bool pad_left);
  /// One more token for each row, whose ids so far and mask are given (`[B, past]`).
  static InvokeInput MakeNext(const at::Tensor& ids, const at::Tensor& mask);
  /// Rows of one token that is a pad: those of an invoke that has no rows any more.
  static InvokeInput MakeAbsent(int64_t rows, int64_t pad);
  /// The first of every `count` rows, which have the same prompt.
  InvokeInput FirstOfEach(int64_t count) const;
  /// `values` of at least one row, none of them a pad.
  static InvokeInput MakeValues(at::Tensor values, bool flat);
  int64_t batch() const { return mask.size(0); }
  int64_t tokens() const { return mask.size(1); }
};

/// The rows that one invoke has in a pass: a block of `batch * tokens` packed rows.
struct Segment {
  Run* run = nullptr;
  int invoke = 0;
  const InvokeInput* input = nullptr;
  int64_t start = 0;    // its first row in the tensors of the pass as they are now
  int64_t tokens = 0;   // of each of its prompts there: 1 once only the last ones go on
  bool pooled = false;  // each prompt is one row, without tokens: see Pass::Pool
  int end = 0;          // the last site that it is needed for
  bool present = true;
  /// While it has no rows of its own: whose they are. `start` is then that segment's.
  const Segment* trunk = nullptr;
  int until = 0;  // see plan::Sharing
  /// Of a generation.
  KVCache* cache = nullptr;
  /// Only the last token of each prompt is looked at from Pass::KeepLast on.
  bool last_alone = false;
  /// That its rows pass through; nullptr for none.
  const Adapter* adapter = nullptr;

  int64_t rows() const { return input->batch() * tokens; }
  /// How many dimensions its rows have in front: batch and tokens, or batch alone.
  int64_t leading() const { return input->flat || pooled ? 1 : 2; }
};

/// How the rows of a pass lie in a tensor that is not packed as `[1, rows, ...]`: along a
/// dimension, `inner` entries for each.
struct RowLayout {
  int64_t dimension = 0;
  int64_t inner = 1;
};

/// What a module returns in transformers, given the one tensor that it computes here.
struct OutputForm {
  enum class Kind : uint8_t { kTensor, kTuple, kDict };
  Kind kind = Kind::kTensor;
  int nones = 0;      // kTuple: that many `none` after the tensor
  int more = 0;       // kTuple: that many tensors before those, see Pass::Return
  std::string field;  // kDict: its field
  std::vector<std::string> more_fields = {};  // kDict: of further tensors
  std::string beside;  // kDict: a second field, with what Pass::Beside was given

  /// How many tensors there are behind the first.
  size_t further() const {
    return kind == Kind::kTuple ? static_cast<size_t>(more) : more_fields.size();
  }
};

/// A tensor in the structure that its module returns.
c10::IValue InForm(const OutputForm& form, at::Tensor tensor,
                   absl::Span<const at::Tensor> further = {});

/// Where the boundaries of a model's modules are met: a tap is `2 * module` for the input and
/// `2 * module + 1` for the output. Const once made.
struct TapTable {
  /// `device`: where the root is called; `placed`: something of the model is not on the CPU.
  TapTable(const plan::ModelSpec& spec, std::vector<OutputForm> forms, at::Device device = at::kCPU,
           bool placed = false);
  const at::Device device;
  const bool placed;
  /// By tap, the time of each visit.
  std::vector<std::vector<int>> times;
  std::vector<OutputForm> forms;  // by module
  int result_site = 0;

  /// One forward of a module, inside.
  struct Inside {
    std::vector<const plan::OperationSpec*> operations;
    /// By Point - kQ, the time; -1 for none.
    std::array<int, 6> points = {-1, -1, -1, -1, -1, -1};
  };
  /// By module and visit; of the spec, which must outlive the table.
  std::vector<std::vector<Inside>> inside;
  const plan::ModelSpec& spec;
};

/// What a run listens to inside a module.
struct Watch {
  int module = 0;
  bool operations = false;  // or points of attention alone
};

class OpTap;
class Pass;

/// One site while it is visited. What is there can be read by segment; the first write makes a
/// copy, so that nothing that was read before changes.
///
/// In a pass with gradients the rows of a segment are a tensor of their own from the first read on,
/// which a write replaces, and the model goes on with those joined again: the gradient of what a
/// program reads is that of what the model uses.
class Visiting {
 public:
  Visiting(Pass& pass, int time) : pass_(pass), time_(time) {}
  virtual ~Visiting() = default;
  Visiting(const Visiting&) = delete;
  Visiting& operator=(const Visiting&) = delete;

  int time() const { return time_; }
  Pass& pass() { return pass_; }

  /// The rows of one segment as `[B, ...]` in the site's structure; `written`: as they are after
  /// the writes so far.
  virtual c10::IValue Read(const Segment& segment, bool written) = 0;
  /// The same, as something that has a gradient.
  virtual c10::IValue ReadForGradient(const Segment& segment) = 0;
  virtual c10::IValue ReadAllForGradient(absl::Span<Segment* const> segments) = 0;
  /// The same for all rows of `segments`, `[all B, longest T, ...]`, zeros at the pads.
  virtual c10::IValue ReadAll(absl::Span<Segment* const> segments, bool written) = 0;
  /// Rows of one segment to write to, in the site's structure.
  virtual c10::IValue Writable(const Segment& segment) = 0;
  /// Write back what ReadAll gave (and somebody changed).
  virtual void WriteAll(absl::Span<Segment* const> segments, const c10::IValue& rows) = 0;
  /// Join what was cut. Nothing is read or written afterwards.
  virtual void Finish() = 0;

  /// The first tensor within a site's structure.
  static at::Tensor LeafOf(const c10::IValue& value);

 protected:
  Pass& pass_;
  const int time_;
};

/// A site whose one tensor holds the packed rows of all segments, `[1, rows, ...]`.
class PackedVisiting final : public Visiting {
 public:
  PackedVisiting(Pass& pass, int time, const OutputForm& form, at::Tensor& value)
      : Visiting(pass, time), form_(form), original_(value), current_(value) {}

  c10::IValue Read(const Segment& segment, bool written) override;
  c10::IValue ReadForGradient(const Segment& segment) override;
  c10::IValue ReadAllForGradient(absl::Span<Segment* const> segments) override;
  c10::IValue ReadAll(absl::Span<Segment* const> segments, bool written) override;
  c10::IValue Writable(const Segment& segment) override;
  void WriteAll(absl::Span<Segment* const> segments, const c10::IValue& rows) override;
  void Finish() override;

 private:
  const OutputForm& form_;
  at::Tensor original_;
  at::Tensor& current_;
  bool copied_ = false;

  struct Part {
    const Segment* segment;
    at::Tensor rows;  // [B, T, ...], or [B, ...]
  };
  at::Tensor& PartOf(const Segment& segment);
  std::vector<Part> parts_;  // with gradients
  bool changed_ = false;     // the model does not go on with `current_` as it is
};

/// The same of a tensor with a row for each prompt.
class PooledVisiting final : public Visiting {
 public:
  PooledVisiting(Pass& pass, int time, at::Tensor& value);

  c10::IValue Read(const Segment& segment, bool written) override;
  c10::IValue ReadForGradient(const Segment& segment) override;
  c10::IValue ReadAllForGradient(absl::Span<Segment* const> segments) override;
  c10::IValue ReadAll(absl::Span<Segment* const> segments, bool written) override;
  c10::IValue Writable(const Segment& segment) override;
  void WriteAll(absl::Span<Segment* const> segments, const c10::IValue& rows) override;
  void Finish() override;

 private:
  PackedVisiting rows_;
};

/// A tensor of the same values that has a gradient: itself, if it has one already, or if it is none
/// of real or complex numbers.
at::Tensor WithGradient(const at::Tensor& tensor);

/// Sees every boundary of a pass, and what happens inside modules, in order: how sites are recorded
/// at load.
class Recorder {
 public:
  /// A tensor for each segment that is present.
  using Parts = std::vector<at::Tensor>;

  virtual ~Recorder() = default;
  virtual void Record(int tap, const at::Tensor& value) = 0;
  /// What was recorded last has this beside it, with rows pooled.
  virtual void RecordBeside(const at::Tensor&) {}
  /// From here on rows are pooled, or no more.
  virtual void Pooled(bool) {}
  /// Arguments (`point` kInputs) or results (kOutput) of an operator in `module`'s forward. One
  /// that is called for each segment by itself gives its tensors as `parts`, the first arguments.
  struct Operator {
    int module;
    const std::string& name;  // `aten::linear`
    bool in_place;            // it writes into an argument
    graph::Point point;
    absl::Span<const c10::IValue> values;
    absl::Span<Parts* const> parts;
    int count;  // of the values
  };
  virtual void Record(const Operator&) {}
  /// A point inside the attention of `module`.
  virtual void Record(int /*module*/, graph::Point, const Parts&) {}
  /// Rows may leave after the output that was recorded last.
  virtual void Leave(int /*tap*/) {}
  /// From here on a generation has the last token of each prompt alone.
  virtual void KeepLast() {}
};

/// Sees every boundary of a call out of band, and may change what is there.
class Watcher {
 public:
  virtual ~Watcher() = default;
  /// At a site of the model; `packed` is `[1, rows, ...]`, which its module returns in `form`.
  /// At a module's input it may ask the pass to skip that for all rows (a SkipRequest without a
  /// segment, its value packed).
  virtual void Visit(Pass& pass, int site, const OutputForm& form, at::Tensor& packed) = 0;
};

/// One forward of the model over the segments of any number of runs, packed as
/// `[1, rows, ...]`. Segments are ordered by the last site that they are needed for, latest first,
/// so that leaving is a narrow from the end.
///
/// Not thread-safe: one pass, one thread.
class Pass {
 public:
  /// `segments` of each run lie together in `runs[i]->segments()`. `pad_left` says on which side
  /// `invoke { }` pads.
  Pass(const TapTable& taps, absl::Span<Run* const> runs, bool pad_left);
  /// A pass without runs, such as the recording at load or a call out of band.
  Pass(const TapTable& taps, std::vector<Segment*> segments, Recorder* recorder);

  ~Pass();
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  // --- for models ---

  /// What the root is called with: `[1, rows]` int64 token ids, or given values `[1, rows, ...]`,
  /// of all segments that are present.
  at::Tensor Input() const;
  at::Tensor Positions() const;
  /// The same on the CPU, for tables that are made of them.
  at::Tensor PositionsOnCpu() const;
  /// Modules and tensors may be on another device than the CPU.
  bool placed() const { return taps_.placed; }
  /// The segments that are present, in row order.
  absl::Span<Segment* const> present() const { return present_; }
  /// No segment has several tokens of a prompt: as in a step of generations.
  bool OneRowEach() const {
    return std::all_of(present_.begin(), present_.end(),
                       [](const Segment* segment) { return segment->tokens == 1; });
  }

  /// Offer a module's input or output to whoever listens; may replace it.
  void Tap(int tap, at::Tensor& value) {
    if (listens_[tap] == 0) [[likely]] {
      return;
    }
    VisitTap(tap, value);
  }

  /// Skips that were asked for at the input just visited.
  struct SkipRequest {
    Segment* segment;
    at::Tensor value;  // [B, T, ...]
  };
  bool HasSkips() const { return !skips_.empty(); }
  void RequestSkip(Segment* segment, at::Tensor value) {
    skips_.push_back({segment, std::move(value)});
  }
  /// Run `module` for the rows that do not skip it, and join its output with the values of those
  /// that do. `module`, whose output is `output_tap`, is called with a narrower packed tensor, or
  /// not at all; `pools`: it returns with rows pooled.
  template <typename Module>
  at::Tensor CallPartly(int output_tap, at::Tensor input, bool pools, const Module& module);

  /// Let go of the segments that no site after `tap` (an output just visited) is needed for, and
  /// let in those that have rows of their own from here on: `hidden` is all that goes on. Also
  /// where cancelled and late runs are noticed. False if nobody is left.
  bool Leave(int tap, at::Tensor& hidden);
  bool done() const { return done_; }
  /// Of generations only each prompt's last token goes on from here: what follows (the head) is
  /// needed for choosing the next one. So it does of segments whose others nobody looks at.
  void KeepLast(at::Tensor& hidden);
  /// The first real token of each prompt of `hidden`: from here on, until Unpool, a prompt is one
  /// row without tokens (`[B, ...]` where it is shown), as in a sentence encoder's pooler.
  at::Tensor Pool(const at::Tensor& hidden);
  void Unpool() { SetPooled(false); }
  bool pooled() const { return pooled_; }
  /// For the forward of a module of several tensors (`OutputForm::more`, `more_fields`): returns
  /// the first, and keeps the others, packed rows too, for whoever listens and for its caller.
  at::Tensor Return(at::Tensor first, std::vector<at::Tensor> further) {
    further_ = std::move(further);
    return first;
  }
  bool HasFurther() const { return !further_.empty(); }
  /// What the module that was called last returned behind its first tensor.
  std::vector<at::Tensor> TakeFurther() { return std::exchange(further_, {}); }
  /// What the root returns beside its tensor, pooled.
  void Beside(at::Tensor value) { beside_ = std::move(value); }

  // --- for networks whose tensors lie otherwise than packed rows ---

  /// Offer tensors to whoever listens at `time`, in the structure of that site; they may be
  /// replaced. The rows of several segments are cut out by `layouts`; a lone segment has all of
  /// each tensor.
  void VisitTensors(int time, absl::Span<at::Tensor> tensors, absl::Span<const RowLayout> layouts);
  std::vector<SkipRequest> TakeSkipRequests() { return TakeSkips(); }
  /// `computed`, which may be undefined where all skip, with the rows of those that skip it.
  at::Tensor JoinSkippedRows(const at::Tensor& computed, absl::Span<const SkipRequest> skips,
                             const RowLayout& layout) const;
  /// As Leave, where rows cannot be cut out of all that goes on: everybody stays until nobody needs
  /// what comes after the site at `time`.
  void LeaveTogether(int time);

  /// Not null where somebody listens inside modules.
  OpTap* inside() const { return inside_.get(); }

  /// A place for what depends on the rows that are present alone, so that layers can share it
  /// (masks, tables of positions); `key` is its maker's own. Empty at first, and again once rows
  /// have left or come.
  std::shared_ptr<void>& ForRows(const void* key) { return for_rows_[key]; }

  /// A place for what one module of the forward leaves for another that is called behind it, beside
  /// its input. Rows may have left in between, so it must be kept by segment.
  std::shared_ptr<void>& LeftFor(const void* key) { return left_for_[key]; }

  /// Whether rows pass through an adapter: what a linear module makes then goes through Adapt.
  bool adapted() const { return adapted_; }
  /// The adapter of whatever goes through the modules, where no segments say whose rows they are.
  const Adapter* adapter_of_all() const { return adapter_of_all_; }
  void UseAdapter(const Adapter* adapter) {
    adapter_of_all_ = adapter;
    adapted_ = adapter != nullptr;
  }

  void CountCall() { ++module_calls_; }
  uint64_t module_calls() const { return module_calls_; }

  /// Go on at `time`, with a module that is called by itself or behind one that nobody calls: what
  /// comes before counts as visited.
  void GoOnAt(int time);

  /// Of a call out of band that begins at site `time`: let somebody see all of it.
  void LetWatch(Watcher* watcher, int time);

  // --- for runs ---
  bool pad_left() const { return pad_left_; }
  /// Several runs share this pass.
  bool shared() const { return shared_; }
  /// Its one run goes backwards.
  bool gradients() const { return gradients_; }
  /// Whether anybody listens to a site, and let those who do see it.
  bool Listens(int time) const;
  void VisitTime(int time, Visiting& visiting);
  Recorder* recorder() const { return recorder_; }

 private:
  void VisitTap(int tap, at::Tensor& value);
  /// Where the segments lie that are present, one behind the other, and those who share with them.
  void Place();
  void SetPooled(bool pooled);
  /// As the pass is now.
  void PoolOrNot(absl::Span<Segment* const> segments) const;
  void LetIn(int time, at::Tensor& hidden);
  /// Skipping segments leave for the module's duration.
  std::vector<SkipRequest> TakeSkips();
  at::Tensor WithoutSkipped(const at::Tensor& input, absl::Span<const SkipRequest> skips,
                            std::vector<Segment*>* before);
  at::Tensor JoinSkipped(const at::Tensor& output, absl::Span<const SkipRequest> skips,
                         std::vector<Segment*> before, at::Device device);

  const TapTable& taps_;
  std::vector<Segment*> present_;
  std::vector<Segment*> sharing_;  // who has no rows of its own yet
  std::vector<uint8_t> listens_;
  std::vector<std::pair<int, Run*>> listeners_;  // by time
  std::vector<int> visits_;                      // by tap; counted where somebody listens
  std::vector<SkipRequest> skips_;
  int partly_ = 0;  // modules being called without some of the segments
  Recorder* recorder_ = nullptr;
  Watcher* watcher_ = nullptr;
  std::unique_ptr<OpTap> inside_;
  std::map<const void*, std::shared_ptr<void>> for_rows_, left_for_;
  uint64_t module_calls_ = 0;
  bool pad_left_ = true;
  bool shared_ = false;
  bool gradients_ = false;
  bool done_ = false;
  bool adapted_ = false;
  const Adapter* adapter_of_all_ = nullptr;
  bool pooled_ = false;
  at::Tensor beside_;
  std::vector<at::Tensor> further_;

  friend class WhilePooled;
};

/// Rows are pooled while it lives.
class WhilePooled {
 public:
  explicit WhilePooled(Pass& pass) : pass_(pass), before_(pass.pooled()) { Set(true); }
  ~WhilePooled() { Set(before_); }
  WhilePooled(const WhilePooled&) = delete;
  WhilePooled& operator=(const WhilePooled&) = delete;

 private:
  void Set(bool pooled) {
    if (pass_.pooled() != pooled) pass_.SetPooled(pooled);
  }
  Pass& pass_;
  const bool before_;
};

/// `[1, rows, ...]` to the rows of one segment, `[B, T, ...]` (or `[B, ...]`), without a copy.
at::Tensor Cut(const at::Tensor& packed, const Segment& segment);
/// The reverse, for one segment.
at::Tensor Packed(const at::Tensor& rows, const Segment& segment);
/// Where one segment lies among the rows of all, which begin at `row`: `all` as ReadAll gives it.
at::Tensor Within(const at::Tensor& all, int64_t row, const Segment& segment, bool pad_left);

template <typename Module>
at::Tensor Pass::CallPartly(int output_tap, at::Tensor input, bool pools, const Module& module) {
  const std::vector<SkipRequest> skips = TakeSkips();
  if (watcher_ != nullptr) {
    GoOnAt(taps_.times[output_tap][visits_[output_tap - 1] - 1]);
    if (pools) SetPooled(true);
    return skips.front().value.to(input.device());
  }
  const at::Device device = input.device();
  std::vector<Segment*> before;
  at::Tensor rest = WithoutSkipped(input, skips, &before);
  at::Tensor output;
  if (present_.empty()) {
    // Its input was visited just now, as somebody skips there.
    GoOnAt(taps_.times[output_tap][visits_[output_tap - 1] - 1]);
  } else {
    output = module(std::move(rest));
  }
  if (pools) SetPooled(true);
  return JoinSkipped(output, skips, std::move(before), device);
}

}  // namespace weft::run
