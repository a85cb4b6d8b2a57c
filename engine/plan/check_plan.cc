#include <ATen/ATen.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/plan/module_result.h"
#include "engine/plan/planner.h"
#include "engine/plan/structure.h"

namespace weft::plan {
namespace {

using graph::Point;

/// Which memory the slots of a frame keep alive: a view keeps all of what it is a view of, long
/// after that has been released itself.
class Memory {
 public:
  explicit Memory(int slots) : of_slot_(slots, -1) {}

  /// The result in `slot` has `bytes` of its own and keeps what the slots `with` keep. Returns the
  /// bytes that this adds.
  uint64_t Hold(Slot slot, uint64_t bytes, const std::vector<Slot>& with) {
    Block block{bytes, 1, {}};
    for (Slot other : with) {
      if (of_slot_[other] < 0) continue;
      block.keeps.push_back(of_slot_[other]);
      ++blocks_[of_slot_[other]].uses;
    }
    of_slot_[slot] = static_cast<int>(blocks_.size());
    blocks_.push_back(std::move(block));
    return bytes;
  }

  /// Returns the bytes that nobody keeps any more.
  uint64_t Release(Slot slot) {
    if (of_slot_[slot] < 0) return 0;
    uint64_t freed = 0;
    std::vector<int> pending = {std::exchange(of_slot_[slot], -1)};
    while (!pending.empty()) {
      Block& block = blocks_[pending.back()];
      pending.pop_back();
      if (--block.uses > 0) continue;
      freed += block.bytes;
      pending.insert(pending.end(), block.keeps.begin(), block.keeps.end());
    }
    return freed;
  }

 private:
  struct Block {
    uint64_t bytes;
    int uses;
    std::vector<int> keeps;
  };
  std::vector<Block> blocks_;
  std::vector<int> of_slot_;
};

/// Walks a plan on meta tensors.
class Checker {
 public:
  Checker(const Plan& plan, const graph::Program& program, const ModelSpec& model,
          absl::Span<const RowCount> rows, const PlanLimits& limits)
      : plan_(plan),
        program_(program),
        model_(model),
        limits_(limits),
        frame_(plan.slots),
        memory_(plan.slots) {
    for (const PlannedInvoke& invoke : plan.invokes) rows_.push_back(rows[invoke.input]);
    check_.saves.resize(plan.saves.size());
    points_.resize(plan.backwards.size());
  }

  absl::StatusOr<PlanCheck> Run() {
    for (const PlannedTrace& trace : plan_.traces) {
      trace_ = &trace;
      cache_bytes_ = 0;
      if (absl::Status status = CountRows(); !status.ok()) return status;
      for (const int invoke : trace.invokes) {
        if (plan_.invokes[invoke].all_rows) continue;
        const auto batch = static_cast<uint64_t>(rows_[invoke].batch);
        const auto tokens = static_cast<uint64_t>(rows_[invoke].tokens);
        check_.rows += batch * (tokens + static_cast<uint64_t>(trace.last_step));
        if (!trace.generates) continue;
        cache_bytes_ +=
            batch * (tokens + static_cast<uint64_t>(trace.steps)) * model_.cache_bytes();
      }
      // Also of a generation in which nobody looks at anything.
      if (absl::Status status = CountPeak(0, trace.node); !status.ok()) return status;
      // The stage after the last pass comes second in the list and last in time.
      for (size_t i = 0; i < trace.stages.size(); ++i) {
        if (i == PlannedTrace::kAfter) continue;
        if (absl::Status status = Walk(trace, static_cast<int>(i)); !status.ok()) return status;
      }
      if (absl::Status status = Walk(trace, PlannedTrace::kAfter); !status.ok()) return status;
      for (const Slot slot : trace.release) Release(slot);
    }
    return std::move(check_);
  }

 private:
  absl::Status Walk(const PlannedTrace& trace, int index) {
    const Stage& stage = trace.stages[index];
    later_ = index > PlannedTrace::kAfter;
    last_step_ = later_ ? trace.last_step : 0;
    while (last_step_ > 0 && &trace.StageOf(last_step_) != &stage) --last_step_;
    times_ = static_cast<uint64_t>(stage.steps);
    operations_ = 0;
    for (const Instruction& instruction : stage.instructions) {
      instruction_ = &instruction;
      absl::StatusOr<c10::IValue> result =
          std::visit([this](const auto& what) { return Visit(what); }, instruction.what);
      if (!result.ok()) {
        const graph::Error error = graph::FromStatus(result.status());
        if (error.node != graph::kNoNode) return result.status();
        return graph::StatementError(result.status().code(), program_, instruction.node,
                                     error.message, error.hint);
      }
      if (instruction.result != kNoSlot) {
        if (absl::Status status = Hold(*std::move(result)); !status.ok()) return status;
      }
      for (const Slot slot : instruction.release) Release(slot);
    }
    check_.operations = std::max(check_.operations, operations_);
    return absl::OkStatus();
  }

  /// What this trace's invokes bring is known by now.
  absl::Status CountRows() {
    uint64_t rows = 0;
    for (const int invoke : trace_->invokes) {
      if (plan_.invokes[invoke].all_rows) {
        rows_[invoke] = {};
        continue;
      }
      rows += static_cast<uint64_t>(rows_[invoke].batch * rows_[invoke].tokens);
      if (!plan_.invokes[invoke].brought || limits_.pass_tokens == 0) continue;
      if (rows <= limits_.pass_tokens) continue;
      return graph::StatementError(
          absl::StatusCode::kResourceExhausted, program_, plan_.invokes[invoke].node,
          absl::StrCat("up to here the trace has ", rows,
                       " rows, pads included; a pass holds at most ", limits_.pass_tokens),
          "split the trace");
    }
    for (const int all : trace_->invokes) {
      if (!plan_.invokes[all].all_rows) continue;
      for (const int other : trace_->invokes) {
        if (plan_.invokes[other].all_rows ||
            plan_.invokes[other].group != plan_.invokes[all].group) {
          continue;
        }
        rows_[all].batch += rows_[other].batch;
        rows_[all].tokens = std::max(rows_[all].tokens, rows_[other].tokens);
      }
    }
    return absl::OkStatus();
  }

  void Release(Slot slot) {
    live_ -= memory_.Release(slot);
    frame_[slot] = c10::IValue();
  }

  /// The rows that an invoke has in the pass that is walked.
  RowCount RowsNow(int invoke) const {
    RowCount rows = rows_[invoke];
    if (later_) rows.tokens = 1;
    return rows;
  }

  absl::Status Refuse(absl::StatusCode code, const std::string& message,
                      const std::string& hint = "") const {
    return graph::StatementError(code, program_, instruction_->node, message, hint);
  }
  absl::Status Misfit(const std::string& message, const std::string& hint = "") const {
    return Refuse(absl::StatusCode::kInvalidArgument, message, hint);
  }

  const c10::IValue& At(Slot slot) const { return frame_[slot]; }

  /// Elements and bytes of all tensors of a value.
  static void Measure(const c10::IValue& value, uint64_t& largest, uint64_t& bytes) {
    if (value.isTensor()) {
      const at::Tensor& tensor = value.toTensor();
      largest = std::max<uint64_t>(largest, tensor.numel());
      bytes += static_cast<uint64_t>(tensor.numel()) * tensor.element_size();
    } else if (value.isTuple()) {
      for (const c10::IValue& item : value.toTupleRef().elements()) Measure(item, largest, bytes);
    } else if (value.isList()) {
      for (const c10::IValue& item : value.toListRef()) Measure(item, largest, bytes);
    } else if (value.isGenericDict()) {
      for (const auto& entry : value.toGenericDict()) Measure(entry.value(), largest, bytes);
    }
  }

  absl::Status Hold(c10::IValue value) {
    uint64_t largest = 0, bytes = 0;
    Measure(value, largest, bytes);
    if (limits_.value_elements != 0 && largest > limits_.value_elements) {
      return Refuse(absl::StatusCode::kResourceExhausted,
                    absl::StrCat("a value of ", largest, " elements; at most ",
                                 limits_.value_elements, " are allowed"));
    }
    const Slot slot = instruction_->result;
    const Shares shares = SharesOf(instruction_->what);
    live_ += memory_.Hold(slot, shares.only ? 0 : bytes, shares.with);
    frame_[slot] = std::move(value);
    return CountPeak(0);
  }

  /// Whose memory a result is, or may be.
  struct Shares {
    bool only = false;  // and none of its own
    std::vector<Slot> with;
  };
  static Shares SharesOf(const decltype(Instruction::what)& what) {
    if (const auto* call = std::get_if<CallOperator>(&what)) {
      const Makes makes = call->call.row->makes;
      if (makes == Makes::kFresh) return {};
      Shares shares{makes != Makes::kMaybeView, {}};
      for (const BoundCall::Fill& fill : call->call.fills) {
        if (const Slot* slot = std::get_if<Slot>(&fill.from)) {
          if (fill.argument == 0 || !shares.only) shares.with.push_back(*slot);
        } else if (!shares.only) {
          const auto& slots = std::get<std::vector<Slot>>(fill.from);
          shares.with.insert(shares.with.end(), slots.begin(), slots.end());
        }
      }
      std::erase(shares.with, kNoSlot);
      return shares;
    }
    if (const auto* item = std::get_if<TakeItem>(&what)) return {true, {item->from}};
    if (const auto* made = std::get_if<MakeStructure>(&what)) return {true, made->items};
    // A module that is the identity returns what it is given.
    if (const auto* call = std::get_if<CallModule>(&what)) return {false, {call->input}};
    if (const auto* take = std::get_if<TakeCarry>(&what)) return {true, {take->carry}};
    if (const auto* choose = std::get_if<ChooseValue>(&what)) {
      return {true, {choose->then, choose->otherwise}};
    }
    return {std::holds_alternative<LoadParameter>(what), {}};
  }

  absl::Status CountPeak(uint64_t workspace) { return CountPeak(workspace, instruction_->node); }
  absl::Status CountPeak(uint64_t workspace, graph::NodeId node) {
    check_.peak_bytes =
        std::max(check_.peak_bytes, live_ + check_.result_bytes + cache_bytes_ + workspace);
    if (limits_.peak_bytes == 0 || check_.peak_bytes <= limits_.peak_bytes) return absl::OkStatus();
    return graph::StatementError(
        absl::StatusCode::kResourceExhausted, program_, node,
        absl::StrCat("up to here the program's values take ", check_.peak_bytes,
                     " bytes at once; at most ", limits_.peak_bytes, " are allowed"),
        "save or use less at a time");
  }

  absl::StatusOr<c10::IValue> Call(const BoundCall& call) {
    c10::Stack stack = BindCall(call, program_, [this](Slot slot) { return At(slot); });
    absl::StatusOr<c10::IValue> result = RunMeta(*call.row, stack);
    if (!result.ok()) return result.status();
    if (call.shape_of >= 0) {
      // Planned at counts where it fits; these may be others.
      const at::Tensor &before = stack[call.shape_of].toTensor(), &after = result->toTensor();
      if (before.sizes() != after.sizes()) {
        return Misfit(absl::StrCat("this would change the shape of a value in place from ",
                                   c10::str(before.sizes()), " to ", c10::str(after.sizes())),
                      "use the operator that makes a new value");
      }
    }
    if (call.mask_dims > 0) {
      // Broadcast from the last dimension on.
      const at::IntArrayRef mask = stack[0].toTensor().sizes();
      const at::IntArrayRef tensor = stack[call.shape_of].toTensor().sizes();
      absl::Status fits =
          MaskFits(mask.slice(0, call.mask_dims),
                   tensor.slice(tensor.size() - std::min(mask.size(), tensor.size())));
      if (!fits.ok()) return fits;
    }
    const CallCost cost = CostOf(*call.row, stack, *result);
    operations_ += cost.operations;
    if (absl::Status status = CountPeak(static_cast<uint64_t>(cost.workspace_bytes));
        !status.ok()) {
      return status;
    }
    return result;
  }

  absl::StatusOr<c10::IValue> Follow(c10::IValue value, const std::vector<ViewStep>& steps) {
    for (const ViewStep& step : steps) {
      absl::StatusOr<c10::IValue> next = [&]() -> absl::StatusOr<c10::IValue> {
        if (const auto* index = std::get_if<int64_t>(&step.item)) return TakeItemOf(value, *index);
        if (const auto* key = std::get_if<std::string>(&step.item)) return TakeItemOf(value, *key);
        c10::Stack stack = BindCall(step.call, program_, [this](Slot slot) { return At(slot); });
        stack[0] = value;
        return RunMeta(*step.call.row, std::move(stack));
      }();
      if (!next.ok()) return next.status();
      value = *std::move(next);
    }
    return value;
  }

  /// As copy_: `value` broadcasts to the part's shape and can be converted to its dtype.
  absl::Status FitsPart(const c10::IValue& part, const c10::IValue& value) const {
    if (!part.isTensor() || !value.isTensor()) return Misfit("only tensors can be written");
    const at::Tensor &to = part.toTensor(), &from = value.toTensor();
    if (!at::is_expandable_to(from.sizes(), to.sizes())) {
      return Misfit(absl::StrCat("a value of shape ", c10::str(from.sizes()),
                                 " does not fit into a part of shape ", c10::str(to.sizes())),
                    "it must have that shape, or broadcast to it");
    }
    if (from.is_complex() && !to.is_complex()) return WrongDType(from, to);
    return absl::OkStatus();
  }

  absl::Status WrongDType(const at::Tensor& from, const at::Tensor& to) const {
    return Misfit(
        absl::StrCat("a value of dtype ", graph::ToString(FromScalarType(from.scalar_type())),
                     " is written where there is ",
                     graph::ToString(FromScalarType(to.scalar_type()))),
        "convert it with aten::to");
  }

  /// A replacement has the structure and the shape of what it replaces.
  absl::Status FitsWhole(const c10::IValue& whole, const c10::IValue& value,
                         bool first_leaf) const {
    if (whole.isTensor()) {
      if (!value.isTensor()) {
        return Misfit(absl::StrCat("the value is ", graph::ToString(PatternOf(value)),
                                   ", and it replaces ", graph::ToString(PatternOf(whole))));
      }
      const at::Tensor &to = whole.toTensor(), &from = value.toTensor();
      if (from.sizes() != to.sizes()) {
        return Misfit(absl::StrCat("a value of shape ", c10::str(from.sizes()),
                                   " replaces one of shape ", c10::str(to.sizes())),
                      "a replacement has the same shape; a slice write (`[...] =`) broadcasts");
      }
      if (from.scalar_type() != to.scalar_type() &&
          !(from.is_floating_point() && to.is_floating_point())) {
        return WrongDType(from, to);
      }
      return absl::OkStatus();
    }
    if (whole.isNone()) {
      return value.isNone() ? absl::OkStatus() : Misfit("a value is given where there is none");
    }
    std::vector<c10::IValue> items = ItemsOf(whole);
    if (value.isTensor() && first_leaf && !items.empty()) {
      return FitsWhole(items.front(), value, true);
    }
    std::vector<c10::IValue> given = ItemsOf(value);
    if (value.tagKind() != whole.tagKind() || given.size() != items.size() ||
        KeysOf(value) != KeysOf(whole)) {
      return Misfit(absl::StrCat("the value is ", graph::ToString(PatternOf(value)),
                                 ", and it replaces ", graph::ToString(PatternOf(whole))),
                    "a replacement has the structure of what it replaces, or is a lone tensor for "
                    "its first");
    }
    for (size_t i = 0; i < items.size(); ++i) {
      if (absl::Status status = FitsWhole(items[i], given[i], false); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  static std::vector<std::string> KeysOf(const c10::IValue& value) {
    std::vector<std::string> keys;
    if (value.isGenericDict()) {
      for (const auto& entry : value.toGenericDict()) keys.push_back(entry.key().toStringRef());
    }
    return keys;
  }

  c10::IValue SiteMeta(int site, int invoke) const {
    RowCount rows = RowsNow(invoke);
    if (trace_->generates && model_.sites()[site].last_token) rows.tokens = 1;
    // Of the steps that have this stage the last, which sees most.
    const int64_t past = later_ ? rows_[invoke].tokens + last_step_ - 1 : 0;
    return MetaOf(model_.sites()[site].pattern, rows, past);
  }

  absl::StatusOr<c10::IValue> Visit(const ReadSite& read) {
    if (absl::Status status = CountStepwise(read.invoke); !status.ok()) return status;
    return SiteMeta(instruction_->time, read.invoke);
  }
  /// Attention whose scores or probabilities are asked for writes both out, and the mask.
  absl::Status CountStepwise(int invoke) {
    const Point point = model_.sites()[instruction_->time].site.point;
    if (point != Point::kScores && point != Point::kProbs) return absl::OkStatus();
    uint64_t largest = 0, bytes = 0;
    Measure(SiteMeta(instruction_->time, invoke), largest, bytes);
    operations_ += 16 * static_cast<double>(largest);
    return CountPeak(4 * bytes);
  }
  absl::StatusOr<c10::IValue> Visit(const ReadInvoke& read) {
    std::vector<int64_t> shape = {rows_[read.invoke].batch};
    if (read.point != Point::kRows) shape.push_back(RowsNow(read.invoke).tokens);
    return c10::IValue(at::empty(shape, at::device(at::kMeta).dtype(at::kLong)));
  }
  absl::StatusOr<c10::IValue> Visit(const LoadConstant&) {
    const auto& tensor = std::get<graph::Constant>(program_.at(instruction_->node).kind).tensor;
    return c10::IValue(
        at::empty(tensor.shape, at::device(at::kMeta).dtype(ToScalarType(tensor.dtype))));
  }
  absl::StatusOr<c10::IValue> Visit(const LoadPlain& plain) { return plain.value; }
  absl::StatusOr<c10::IValue> Visit(const LoadParameter& parameter) {
    const ParameterSpec& spec = model_.parameters().at(parameter.path);
    return c10::IValue(
        at::empty(spec.shape, at::device(at::kMeta).dtype(ToScalarType(spec.dtype))));
  }
  absl::StatusOr<c10::IValue> Visit(const CallOperator& what) { return Call(what.call); }
  absl::StatusOr<c10::IValue> Visit(const TakeItem& what) {
    return TakeItemOf(At(what.from), what.item);
  }
  absl::StatusOr<c10::IValue> Visit(const MakeStructure& what) {
    return MakeStructureOf(what, [this](Slot slot) { return At(slot); });
  }
  absl::StatusOr<c10::IValue> Visit(const ReplacePart& what) {
    absl::StatusOr<c10::IValue> part = Follow(At(what.base), what.steps);
    if (!part.ok()) return part.status();
    if (absl::Status status = FitsPart(*part, At(what.value)); !status.ok()) return status;
    return At(what.base);
  }
  absl::StatusOr<c10::IValue> Visit(const CallModule& what) {
    const bool all = what.invoke >= 0 && plan_.invokes[what.invoke].all_rows;
    const RowCount rows = what.invoke < 0 ? RowCount{} : RowsNow(what.invoke);
    absl::StatusOr<c10::IValue> result =
        ModuleResult(model_, what.module, At(what.input), rows, all);
    if (!result.ok()) return result;
    const CallCost cost = CostOfModule(model_, what.module, At(what.input).toTensor(), rows);
    operations_ += cost.operations;
    absl::Status status = CountPeak(static_cast<uint64_t>(cost.workspace_bytes));
    if (!status.ok()) return status;
    return result;
  }
  absl::StatusOr<c10::IValue> Visit(const CallWatched& what) {
    absl::StatusOr<c10::IValue> result = Visit(CallModule{what.module, what.invoke, what.input});
    if (!result.ok()) return result;
    called_ = *std::move(result);
    leading_ = LeadingOf(model_, what.module, At(what.input).toTensor().sizes());
    return c10::IValue();
  }
  absl::StatusOr<c10::IValue> Visit(const ReadInside& what) {
    return ValueInside(model_, what.site, leading_);
  }
  absl::StatusOr<c10::IValue> Visit(const WriteInside& what) {
    const c10::IValue whole = ValueInside(model_, what.site, leading_);
    if (what.steps.empty()) return Checked(FitsWhole(whole, At(what.value), true));
    absl::StatusOr<c10::IValue> part = Follow(whole, what.steps);
    if (!part.ok()) return part.status();
    return Checked(FitsPart(*part, At(what.value)));
  }
  absl::StatusOr<c10::IValue> Visit(const SkipInside& what) {
    return Checked(FitsWhole(ValueInside(model_, what.output, leading_), At(what.value), true));
  }
  absl::StatusOr<c10::IValue> Visit(const TakeCalled&) { return called_; }
  absl::StatusOr<c10::IValue> Visit(const WriteSite& what) {
    if (absl::Status status = CountStepwise(what.invoke); !status.ok()) return status;
    const c10::IValue whole = SiteMeta(instruction_->time, what.invoke);
    if (plan_.invokes[what.invoke].all_rows) {
      // They are gathered, changed and handed back.
      uint64_t largest = 0, bytes = 0;
      Measure(whole, largest, bytes);
      if (absl::Status status = CountPeak(bytes); !status.ok()) return status;
    }
    if (what.steps.empty()) return Checked(FitsWhole(whole, At(what.value), true));
    absl::StatusOr<c10::IValue> part = Follow(whole, what.steps);
    if (!part.ok()) return part.status();
    return Checked(FitsPart(*part, At(what.value)));
  }
  absl::StatusOr<c10::IValue> Visit(const SkipModule& what) {
    const int output = model_.FindSite(what.module, Point::kOutput, what.visit);
    return Checked(FitsWhole(SiteMeta(output, what.invoke), At(what.value), true));
  }
  absl::StatusOr<c10::IValue> Visit(const SaveValue& what) {
    return Save(what.save, At(what.value), what.dtype, what.by_data);
  }
  absl::StatusOr<c10::IValue> Visit(const SaveSite& what) {
    return Save(what.save, SiteMeta(instruction_->time, what.invoke), what.dtype, {});
  }
  absl::StatusOr<c10::IValue> Save(int save, const c10::IValue& value,
                                   std::optional<graph::DType> dtype,
                                   const std::vector<std::vector<bool>>& by_data) {
    const c10::IValue saved = ConvertFloats(value, dtype);
    uint64_t largest = 0, bytes = 0;
    Measure(saved, largest, bytes);
    check_.result_bytes += bytes * times_;
    if (limits_.result_bytes != 0 && check_.result_bytes > limits_.result_bytes) {
      return Refuse(absl::StatusCode::kResourceExhausted,
                    absl::StrCat("up to here the results take ", check_.result_bytes,
                                 " bytes; at most ", limits_.result_bytes, " are allowed"),
                    "save slices, or reduce on the server");
    }
    check_.saves[save] = PatternOf(saved);
    size_t tensor = 0;
    if (!by_data.empty()) MarkAtMost(by_data, tensor, check_.saves[save]);
    if (!by_data.empty() && tensor != by_data.size()) {
      // There are as many as there are tokens, say, and now there are others.
      tensor = 0;
      MarkAtMost({}, tensor, check_.saves[save]);
    }
    return Checked(CountPeak(0));
  }
  absl::StatusOr<c10::IValue> Visit(const SetCarry& what) {
    if (!At(what.carry).isNone()) {
      const std::string before = graph::ToString(PatternOf(At(what.carry)));
      const std::string after = graph::ToString(PatternOf(At(what.value)));
      if (before != after) {
        return Misfit(absl::StrCat("what is carried was ", before, ", and is ", after, " here"),
                      "carry a value that keeps its structure, shape and dtype");
      }
    }
    Release(what.carry);
    uint64_t largest = 0, bytes = 0;
    Measure(At(what.value), largest, bytes);
    live_ += memory_.Hold(what.carry, 0, {what.value});
    frame_[what.carry] = At(what.value);
    return c10::IValue();
  }
  absl::StatusOr<c10::IValue> Visit(const TakeCarry& what) { return At(what.carry); }
  absl::StatusOr<c10::IValue> Visit(const ChooseValue& what) {
    const std::string yes = graph::ToString(PatternOf(At(what.then)));
    const std::string no = graph::ToString(PatternOf(At(what.otherwise)));
    if (yes != no) {
      return Misfit(absl::StrCat("one branch yields ", yes, " and the other ", no),
                    "both yield the same structure, shape and dtype");
    }
    return At(what.then);
  }
  absl::StatusOr<c10::IValue> Visit(const ReadResult& what) {
    const RowCount& rows = rows_[what.invoke];
    std::vector<int64_t> shape = {trace_->ReturnedOf(rows.batch)};
    if (!what.scores) shape.push_back(rows.tokens + trace_->steps);
    return c10::IValue(
        at::empty(shape, at::device(at::kMeta).dtype(what.scores ? at::kFloat : at::kLong)));
  }
  absl::StatusOr<c10::IValue> Visit(const StopRun&) { return c10::IValue(); }
  absl::StatusOr<c10::IValue> Visit(const BringInput& what) {
    const PlannedTrace& next = plan_.traces[plan_.invokes[what.invoke].trace];
    const at::Tensor& value = At(what.value).toTensor();
    const bool ids = next.root == 0 && model_.input().ids;
    if (what.mask != kNoSlot && At(what.mask).toTensor().sizes() != value.sizes()) {
      return Misfit(absl::StrCat("`input_ids` has the shape ", c10::str(value.sizes()),
                                 " and `attention_mask` ",
                                 c10::str(At(what.mask).toTensor().sizes())));
    }
    // Seen when it was planned, and perhaps with other numbers of tokens.
    if (ids && (value.dim() < 1 || value.dim() > 2 || value.numel() == 0)) {
      return Misfit(absl::StrCat("`input_ids` is ", graph::ToString(PatternOf(At(what.value)))),
                    "it is int64[tokens] or int64[batch, tokens]");
    }
    const RowCount rows = BroughtRows(model_, next.first_site, ids, value.sizes());
    rows_[what.invoke] = rows;
    if (!ids) {
      const graph::Pattern& pattern = model_.sites()[next.first_site].pattern;
      const at::Tensor expected = MetaOf(pattern, rows).toTensor();
      if (expected.sizes() != value.sizes() || value.numel() == 0) {
        return Misfit(absl::StrCat("the module takes ", graph::ToString(pattern),
                                   " of at least one row, and is given ",
                                   graph::ToString(PatternOf(At(what.value)))));
      }
    }
    const SizeRange &batches = model_.input().batches, &lengths = model_.input().lengths;
    const auto outside = [](int64_t size, const SizeRange& range) {
      return size < range.least || size > range.most;
    };
    if (next.root == 0 && (outside(rows.batch, batches) ||
                           (model_.input().tokens && outside(rows.tokens, lengths)))) {
      return Misfit(absl::StrCat("the model was not made for ", rows.batch, " rows of ",
                                 rows.tokens, " tokens"));
    }
    // It is kept until that trace is over.
    uint64_t largest = 0, bytes = 0;
    Measure(At(what.value), largest, bytes);
    return Checked(CountPeak(2 * bytes));
  }
  absl::StatusOr<c10::IValue> Visit(const LogValue&) { return c10::IValue(); }
  absl::StatusOr<c10::IValue> Visit(const RunBackward& what) {
    const at::Tensor& loss = At(what.loss).toTensor();
    if (what.gradient != kNoSlot) {
      const c10::IValue& gradient = At(what.gradient);
      if (!gradient.isTensor() || gradient.toTensor().sizes() != loss.sizes() ||
          gradient.toTensor().scalar_type() != loss.scalar_type()) {
        return Misfit(absl::StrCat("the gradient that it starts from is ",
                                   graph::ToString(PatternOf(gradient)), ", and the loss is ",
                                   graph::ToString(PatternOf(loss))),
                      "they have the same shape and dtype");
      }
    } else if (loss.numel() != 1) {
      return Misfit(absl::StrCat("the loss has the shape ", c10::str(loss.sizes()),
                                 ", and `backward` starts from one number"),
                    "take aten::sum or aten::mean of it, or say `from %gradient`");
    }
    // They may be released by the time that their gradients are there.
    points_[what.backward].clear();
    for (Slot slot : what.points) points_[what.backward].push_back(At(slot));
    return c10::IValue();
  }
  absl::StatusOr<c10::IValue> Visit(const ReadGradient& what) {
    return points_[what.backward][what.point];
  }
  absl::StatusOr<c10::IValue> Visit(const WriteGradient& what) {
    const c10::IValue& whole = points_[what.backward][what.point];
    if (what.steps.empty()) return Checked(FitsWhole(whole, At(what.value), false));
    absl::StatusOr<c10::IValue> part = Follow(whole, what.steps);
    if (!part.ok()) return part.status();
    return Checked(FitsPart(*part, At(what.value)));
  }

  /// `by_data`: of each tensor, from `tensor` on, which dimensions depend on data; of those that it
  /// does not know, any may.
  static void MarkAtMost(const std::vector<std::vector<bool>>& by_data, size_t& tensor,
                         graph::Pattern& pattern) {
    if (auto* found = std::get_if<graph::Pattern::Tensor>(&pattern.value)) {
      const size_t place = tensor++;
      for (size_t i = 0; i < found->shape.size(); ++i) {
        found->shape[i].at_most =
            place >= by_data.size() || (i < by_data[place].size() && by_data[place][i]);
      }
    } else if (auto* list = std::get_if<graph::Pattern::List>(&pattern.value)) {
      for (graph::Pattern& item : list->items) MarkAtMost(by_data, tensor, item);
    } else if (auto* tuple = std::get_if<graph::Pattern::Tuple>(&pattern.value)) {
      for (graph::Pattern& item : tuple->items) MarkAtMost(by_data, tensor, item);
    } else if (auto* dict = std::get_if<graph::Pattern::Dict>(&pattern.value)) {
      for (auto& entry : dict->entries) MarkAtMost(by_data, tensor, entry.value);
    }
  }

  static absl::StatusOr<c10::IValue> Checked(const absl::Status& status) {
    if (!status.ok()) return status;
    return c10::IValue();
  }

  const Plan& plan_;
  const graph::Program& program_;
  const ModelSpec& model_;
  std::vector<RowCount> rows_;
  const PlanLimits& limits_;
  std::vector<c10::IValue> frame_;
  Memory memory_;
  uint64_t live_ = 0;
  uint64_t cache_bytes_ = 0;  // of the trace's generation
  const PlannedTrace* trace_ = nullptr;
  bool later_ = false;  // a step after the first
  int64_t last_step_ = 0;
  uint64_t times_ = 1;  // that the stage is run
  double operations_ = 0;
  const Instruction* instruction_ = nullptr;
  std::vector<std::vector<c10::IValue>> points_;  // by backward
  // Of the watched call that was made last.
  c10::IValue called_;
  std::vector<int64_t> leading_;
  PlanCheck check_;
};

}  // namespace

absl::StatusOr<PlanCheck> CheckPlan(const Plan& plan, const graph::Program& program,
                                    const ModelSpec& model, absl::Span<const RowCount> rows,
                                    const PlanLimits& limits) {
  absl::StatusOr<PlanCheck> check = absl::InternalError("not checked");
  absl::Status status = CatchTorch([&] {
    check = Checker(plan, program, model, rows, limits).Run();
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return check;
}

}  // namespace weft::plan
