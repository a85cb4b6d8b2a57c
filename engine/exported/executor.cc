#include "engine/exported/executor.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/exported/bind.h"
#include "engine/plan/operators.h"
#include "engine/run/op_tap.h"

namespace weft::exported {
namespace {

at::Tensor TensorAt(const c10::IValue& value, const SiteLeaf& leaf) {
  if (leaf.item < 0) return value.toTensor();
  const auto items = value.toListRef();
  TORCH_CHECK(static_cast<size_t>(leaf.item) < items.size(), "it has ", items.size(),
              " tensors, and one behind them is asked for");
  return items[leaf.item].toTensor();
}

}  // namespace

Executor::Executor(const Graph& graph, run::Pass* pass, uint64_t memory_bytes)
    : graph_(graph), pass_(pass), account_(memory_bytes), values_(graph.given) {}

void Executor::Run(absl::Span<const at::Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    values_[graph_.user_inputs[i]] = inputs[i].to(graph_.device);
    if (observer_) observer_(graph_.user_inputs[i], values_[graph_.user_inputs[i]]);
  }
  RunSteps(0, static_cast<int>(graph_.steps.size()) - 1);
}

at::Tensor Executor::RunCall(int call, const at::Tensor& input) {
  const ModuleCall& what = graph_.calls[call];
  values_[what.input.leaves[0]] = input.to(graph_.device);
  RunSteps(what.enter, what.leave);
  const c10::IValue& result = values_[what.output.leaves[0]];
  return result.isTensor() ? result.toTensor() : at::Tensor();
}

void Executor::RunSteps(int first, int last) {
  // Operators are met here, and not on their way through the dispatcher.
  const run::OpTap::Pause pause;
  for (int at = first; at <= last; ++at) {
    const Step* step = &graph_.steps[at];
    switch (step->kind) {
      case Step::Kind::kEnter:
        if (pass_ != nullptr) pass_->CountCall();
        if (!Enter(step->index)) {
          at = graph_.calls[step->index].leave;
          step = &graph_.steps[at];
          Leave();
        }
        break;
      case Step::Kind::kNode:
        Compute(graph_.nodes[step->index]);
        break;
      case Step::Kind::kLeave:
        Leave();
        break;
    }
    if (pass_ != nullptr && pass_->done()) return;
    // What a call returns is looked at after it.
    if (at == last) return;
    for (const ValueId value : step->release) values_[value] = c10::IValue();
  }
}

bool Executor::Enter(int index) {
  const ModuleCall& call = graph_.calls[index];
  Open open;
  open.call = index;
  if (pass_ != nullptr && call.input.time >= 0 && pass_->Listens(call.input.time)) {
    const ValueId value = call.input.leaves[0];
    open.input = {value, values_[value]};
    VisitBoundary(call.input);
    open.skips = pass_->TakeSkipRequests();
  }
  const bool skipped = !open.skips.empty() && open.skips.size() == pass_->present().size();
  open_.push_back(std::move(open));
  return !skipped;
}

void Executor::Leave() {
  Open open = std::move(open_.back());
  open_.pop_back();
  const Boundary& output = graph_.calls[open.call].output;
  if (!open.skips.empty()) PutSkipped(output, open.skips);
  if (pass_ != nullptr && output.time >= 0) {
    if (pass_->Listens(output.time)) VisitBoundary(output);
    // The outermost call is the end anyway.
    if (!open_.empty()) pass_->LeaveTogether(output.time);
  }
  if (open.input) {
    const auto& [value, outside] = *open.input;
    bool returned = false;
    for (const ValueId leaf : output.leaves) returned |= leaf == value;
    if (!returned) values_[value] = outside;
  }
}

void Executor::PutSkipped(const Boundary& boundary,
                          absl::Span<const run::Pass::SkipRequest> skips) {
  for (const ValueId leaf : boundary.leaves) {
    if (leaf == kNoValue) continue;
    // The planner lets nobody skip what returns several tensors.
    at::Tensor computed;
    if (values_[leaf].isTensor()) computed = values_[leaf].toTensor();
    values_[leaf] = pass_->JoinSkippedRows(computed, skips, graph_.LayoutOf(leaf));
    return;
  }
}

void Executor::VisitBoundary(const Boundary& boundary) {
  std::vector<at::Tensor> tensors;
  std::vector<run::RowLayout> layouts;
  for (const ValueId leaf : boundary.leaves) {
    if (leaf == kNoValue) continue;
    tensors.push_back(values_[leaf].toTensor());
    layouts.push_back(graph_.LayoutOf(leaf));
  }
  const std::vector<at::Tensor> before = tensors;
  pass_->VisitTensors(boundary.time, absl::MakeSpan(tensors), layouts);
  size_t i = 0;
  for (const ValueId leaf : boundary.leaves) {
    if (leaf == kNoValue) continue;
    if (!tensors[i].is_same(before[i])) values_[leaf] = tensors[i];
    ++i;
  }
}

void Executor::VisitLeaves(int time, absl::Span<const SiteLeaf> leaves,
                           absl::Span<c10::IValue> values) {
  std::vector<at::Tensor> tensors;
  std::vector<run::RowLayout> layouts;
  for (const SiteLeaf& leaf : leaves) {
    tensors.push_back(TensorAt(values[leaf.place], leaf));
    layouts.push_back(graph_.LayoutOf(leaf.value));
  }
  pass_->VisitTensors(time, absl::MakeSpan(tensors), layouts);
  for (size_t i = 0; i < leaves.size(); ++i) {
    c10::IValue& value = values[leaves[i].place];
    if (leaves[i].item < 0) {
      value = std::move(tensors[i]);
      continue;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list = value.toOptionalTensorList().copy();
      list.set(leaves[i].item, std::move(tensors[i]));
      value = std::move(list);
      continue;
    }
    c10::List<at::Tensor> list = value.toTensorList().copy();
    list.set(leaves[i].item, std::move(tensors[i]));
    value = std::move(list);
  }
}

void Executor::Compute(const BoundNode& node) {
  if (node.op.nothing) return;
  const Node& about = graph_.program.nodes[node.node];
  if (deadline_ != absl::InfiniteFuture()) {
    TORCH_CHECK(absl::Now() < deadline_, "running the program once takes too long; it was at node ",
                Named(about));
  }
  try {
    const run::MemoryAccount::Charging charging(account_.limit() > 0 ? &account_ : nullptr);
    c10::Stack stack = node.stack;
    const c10::FunctionSchema* schema = node.op.handle ? &node.op.handle->schema() : nullptr;
    for (const BoundNode::Fill& fill : node.fills) {
      stack[fill.argument] = FillOf(
          schema == nullptr ? nullptr : &schema->arguments()[fill.argument], fill.from, values_);
    }
    if (node.op.size) {
      absl::StatusOr<c10::IValue> result = ComputeSize(*node.op.size, stack);
      TORCH_CHECK(result.ok(), std::string(result.status().message()));
      const ValueId value = about.outputs[0].values[0];
      if (value == kNoValue) return;
      if (observer_) observer_(value, *result);
      values_[value] = *std::move(result);
      return;
    }
    Call(node, stack);
    Keep(node, stack);
  } catch (c10::Error& error) {
    error.add_context(absl::StrCat("at node ", Named(about)));
    throw;
  }
}

void Executor::Call(const BoundNode& node, c10::Stack& stack) {
  const bool inside = pass_ != nullptr && pass_->inside() != nullptr;
  if (inside && node.inputs_time >= 0 && pass_->Listens(node.inputs_time)) {
    VisitLeaves(node.inputs_time, node.arguments, absl::MakeSpan(stack));
  }
  if (node.op.identity) {
    stack.resize(1);
  } else {
    CheckArguments(node.op, stack);
    const bool keeps = graph_.program.nodes[node.node].keeps_dtype;
    const at::Tensor first = keeps ? stack[0].toTensor() : at::Tensor();
    if (node.op.row != nullptr) plan::MakeViewable(*node.op.row, stack);
    node.op.handle->callBoxed(&stack);
    CheckResults(node.op, stack);
    for (c10::IValue& result : stack) {
      if (!result.isTensor() || !result.toTensor().defined()) continue;
      // What is made of numbers alone is made on the CPU.
      if (result.toTensor().is_cpu()) result = result.toTensor().to(graph_.device);
      if (result.toTensor().is_conj() || result.toTensor().is_neg()) {
        result = result.toTensor().resolve_conj().resolve_neg();
      }
      if (keeps) {
        TORCH_CHECK(result.toTensor().sizes() == first.sizes(),
                    "an operator in place would change the shape of what it writes to");
        result = result.toTensor().to(first.scalar_type());
      }
    }
  }
  if (inside && node.output_time >= 0 && pass_->Listens(node.output_time)) {
    VisitLeaves(node.output_time, node.results, absl::MakeSpan(stack));
  }
}

void Executor::Keep(const BoundNode& node, c10::Stack& results) {
  const std::vector<Output>& outputs = graph_.program.nodes[node.node].outputs;
  const auto keep = [this](ValueId value, c10::IValue made) {
    if (value == kNoValue) return;
    // What lies in what is told by what the export calls it.
    TORCH_CHECK(graph_.program.values[value].tensor
                    ? made.isTensor() && made.toTensor().defined()
                    : made.isInt() || made.isBool() || made.isDouble(),
                "a result is of another kind than the program says");
    if (observer_) observer_(value, made);
    values_[value] = std::move(made);
  };
  TORCH_CHECK(outputs.size() <= results.size(), "it has fewer results than are used");
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].list) {
      if (!outputs[i].values.empty()) keep(outputs[i].values[0], std::move(results[i]));
      continue;
    }
    TORCH_CHECK(results[i].isTensorList(), "a list of results is used, and it has none");
    const c10::List<at::Tensor> list = results[i].toTensorList();
    TORCH_CHECK(list.size() == outputs[i].values.size(), "it has ", list.size(), " results, and ",
                outputs[i].values.size(), " are used");
    for (size_t j = 0; j < list.size(); ++j) keep(outputs[i].values[j], list.get(j));
  }
}

}  // namespace weft::exported
