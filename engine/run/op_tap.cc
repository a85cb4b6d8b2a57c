#include "engine/run/op_tap.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/kernels/linear.h"
#include "engine/run/op_visiting.h"
#include "engine/run/run.h"

namespace weft::run {
namespace {

using plan::OperationSpec;

/// Whose operators are met on this thread.
thread_local OpTap* current = nullptr;

const OutputForm& TensorForm() {
  static const OutputForm kForm;
  return kForm;
}

}  // namespace

/// The kernel of every operator under OpTap::kKey.
void MeetOperator(const c10::OperatorHandle& op, c10::Stack* stack) {
  const OpTap::Pause once;
  if (current == nullptr) {
    op.callBoxed(stack);
  } else {
    current->Call(op, *stack);
  }
}

namespace {

void InstallFallback() {
  static const torch::Library kLibrary = [] {
    torch::Library library(torch::Library::IMPL, "_", OpTap::kKey, __FILE__, __LINE__);
    library.fallback(torch::CppFunction::makeFromBoxedFunction<&MeetOperator>());
    return library;
  }();
}

/// What the model would have called without anybody to meet it.
void CallKernel(const c10::OperatorHandle& op, c10::Stack& stack) {
  static const c10::OperatorName kLinear("aten::linear", "");
  if (op.operator_name() != kLinear) return op.callBoxed(&stack);
  const at::Tensor y = kernels::Linear(
      torch::jit::peek(stack, 0, 3).toTensor(), torch::jit::peek(stack, 1, 3).toTensor(),
      torch::jit::peek(stack, 2, 3).toOptional<at::Tensor>().value_or(at::Tensor()));
  torch::jit::drop(stack, 3);
  stack.emplace_back(y);
}

/// The kernel's result or argument that a leaf is.
at::Tensor TensorAt(const c10::IValue& value, const OperationSpec::Leaf& leaf) {
  return leaf.item < 0 ? value.toTensor() : value.toTensorList().get(leaf.item);
}

}  // namespace

OpTap::OpTap(Pass& pass, const TapTable& taps)
    : pass_(pass),
      taps_(taps),
      visits_(taps.inside.size(), 0),
      watched_(taps.inside.size(), false),
      operations_(taps.inside.size(), false) {
  InstallFallback();
}

void OpTap::Listen(const Watch& watch) {
  watched_[watch.module] = true;
  if (watch.operations) operations_[watch.module] = true;
}

void OpTap::GoOnAt(int time) {
  for (size_t module = 0; module < visits_.size(); ++module) {
    const auto& times = taps_.times[2 * module];
    visits_[module] = static_cast<uint32_t>(
        std::count_if(times.begin(), times.end(), [time](int at) { return at < time; }));
  }
}

OpTap::Scope::Scope(OpTap& tap, int module)
    : tap_(tap), current_(current), on_(c10::impl::tls_is_dispatch_key_included(kKey)) {
  Frame frame;
  frame.module = module;
  frame.visit = tap.visits_[module]++;
  if (tap.pass_.recorder() != nullptr) {
    frame.watched = frame.operations = true;
  } else if (frame.visit < tap.taps_.inside[module].size()) {
    frame.watched = tap.watched_[module];
    frame.operations = tap.operations_[module];
    frame.inside = &tap.taps_.inside[module][frame.visit];
  }
  current = &tap;
  if (frame.operations != on_) c10::impl::tls_set_dispatch_key_included(kKey, frame.operations);
  tap.frames_.push_back(frame);
}

OpTap::Scope::~Scope() {
  tap_.frames_.pop_back();
  c10::impl::tls_set_dispatch_key_included(kKey, on_);
  current = current_;
}

const OperationSpec& OpTap::Next(const std::string& op) {
  Frame& frame = frames_.back();
  const auto& operations = frame.inside->operations;
  TORCH_CHECK(frame.next < operations.size() && operations[frame.next]->op == op,
              "the forward of `", taps_.spec.modules()[frame.module].path, "` calls ", op,
              " as its ", frame.next, "th operator, which it did not when the model was loaded");
  return *operations[frame.next++];
}

void OpTap::Call(const c10::OperatorHandle& op, c10::Stack& stack) {
  const c10::FunctionSchema& schema = op.schema();
  const size_t arguments = schema.arguments().size(), results = schema.returns().size();
  const Frame& frame = frames_.back();
  if (Recorder* recorder = pass_.recorder()) {
    int positional = 0;
    for (const c10::Argument& argument : schema.arguments()) positional += !argument.kwarg_only();
    const bool in_place = schema.is_mutable();
    recorder->Record({frame.module,
                      schema.name(),
                      in_place,
                      graph::Point::kInputs,
                      absl::MakeConstSpan(stack).last(arguments),
                      {},
                      positional});
    op.callBoxed(&stack);
    recorder->Record({frame.module,
                      schema.name(),
                      in_place,
                      graph::Point::kOutput,
                      absl::MakeConstSpan(stack).last(results),
                      {},
                      static_cast<int>(results)});
    return;
  }
  const OperationSpec& operation = Next(schema.name());
  if (operation.inputs >= 0 && pass_.Listens(operation.inputs)) {
    Visit(operation.inputs, operation.arguments, absl::MakeSpan(stack).last(arguments));
  }
  CallKernel(op, stack);
  if (operation.output >= 0 && pass_.Listens(operation.output)) {
    Visit(operation.output, operation.results, absl::MakeSpan(stack).last(results));
  }
}

void OpTap::Visit(int time, absl::Span<const OperationSpec::Leaf> leaves,
                  absl::Span<c10::IValue> values) {
  int64_t rows = 0;
  for (const Segment* segment : pass_.present()) rows += segment->rows();
  std::vector<at::Tensor> tensors;
  tensors.reserve(leaves.size());
  for (const OperationSpec::Leaf& leaf : leaves) {
    at::Tensor tensor = TensorAt(values[leaf.place], leaf);
    TORCH_CHECK(tensor.dim() >= 2 && tensor.size(0) == 1 && tensor.size(1) == rows,
                "an operator's rows are not where they were when the model was loaded");
    tensors.push_back(std::move(tensor));
  }
  const graph::Pattern& pattern = taps_.spec.sites()[time].pattern;
  if (std::holds_alternative<graph::Pattern::Tensor>(pattern.value)) {
    PackedVisiting visiting(pass_, time, TensorForm(), tensors[0]);
    pass_.VisitTime(time, visiting);
  } else {
    std::vector<std::unique_ptr<Visiting>> visitings;
    for (at::Tensor& tensor : tensors) {
      visitings.push_back(std::make_unique<PackedVisiting>(pass_, time, TensorForm(), tensor));
    }
    StructureVisiting visiting(pass_, time, pattern, std::move(visitings));
    pass_.VisitTime(time, visiting);
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    c10::IValue& value = values[leaves[i].place];
    if (leaves[i].item < 0) {
      value = std::move(tensors[i]);
      continue;
    }
    // Not into the list, which may be the model's.
    c10::List<at::Tensor> list = value.toTensorList().copy();
    list.set(leaves[i].item, std::move(tensors[i]));
    value = std::move(list);
  }
}

void OpTap::Visit(int time, absl::Span<const OperationSpec::Leaf> leaves,
                  absl::Span<Parts* const> values) {
  const graph::Pattern& pattern = taps_.spec.sites()[time].pattern;
  if (std::holds_alternative<graph::Pattern::Tensor>(pattern.value)) {
    PartsVisiting visiting(pass_, time, *values[leaves[0].place]);
    pass_.VisitTime(time, visiting);
    return;
  }
  std::vector<std::unique_ptr<Visiting>> visitings;
  for (const OperationSpec::Leaf& leaf : leaves) {
    visitings.push_back(std::make_unique<PartsVisiting>(pass_, time, *values[leaf.place]));
  }
  StructureVisiting visiting(pass_, time, pattern, std::move(visitings));
  pass_.VisitTime(time, visiting);
}

void OpTap::Arguments(const std::string& op, int count, absl::Span<Parts* const> tensors) {
  const Frame& frame = frames_.back();
  if (!frame.operations) return;
  if (Recorder* recorder = pass_.recorder()) {
    recorder->Record({frame.module, op, false, graph::Point::kInputs, {}, tensors, count});
    return;
  }
  const OperationSpec& operation = Next(op);
  if (operation.inputs >= 0 && pass_.Listens(operation.inputs)) {
    Visit(operation.inputs, operation.arguments, tensors);
  }
}

void OpTap::Result(const std::string& op, Parts* result) {
  const Frame& frame = frames_.back();
  if (!frame.operations) return;
  Parts* const results[] = {result};
  if (Recorder* recorder = pass_.recorder()) {
    recorder->Record({frame.module, op, false, graph::Point::kOutput, {}, results, 1});
    return;
  }
  const OperationSpec& operation = *frame.inside->operations[frame.next - 1];
  if (operation.output >= 0 && pass_.Listens(operation.output)) {
    Visit(operation.output, operation.results, results);
  }
}

int OpTap::TimeOf(graph::Point point) const {
  const Frame& frame = frames_.back();
  return frame.inside == nullptr
             ? -1
             : frame.inside
                   ->points[static_cast<size_t>(point) - static_cast<size_t>(graph::Point::kQ)];
}

void OpTap::Point(graph::Point point, Parts* parts) {
  if (Recorder* recorder = pass_.recorder()) {
    recorder->Record(frames_.back().module, point, *parts);
    return;
  }
  const int time = TimeOf(point);
  if (time < 0 || !pass_.Listens(time)) return;
  PartsVisiting visiting(pass_, time, *parts);
  pass_.VisitTime(time, visiting);
}

bool OpTap::Wants(graph::Point point, const Segment& segment) const {
  if (pass_.recorder() != nullptr) return true;
  const int time = TimeOf(point);
  return time >= 0 && segment.run != nullptr && segment.run->Touches(time, segment.invoke);
}

}  // namespace weft::run
