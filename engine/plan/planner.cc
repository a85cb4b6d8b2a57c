#include "engine/plan/planner.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/plan/finish_plan.h"
#include "engine/plan/plan_builder.h"

namespace weft::plan {
namespace {

// A change in place recomputes the views of what it changes when they are used again. This keeps
// what a small program can make of that small.
constexpr size_t kMaxInstructions = 1 << 18;
constexpr size_t kMaxListItems = 1 << 20;

}  // namespace

absl::StatusOr<Plan> PlanBuilder::Build() {
  FindEnds();
  absl::Status status = BuildRange(1, static_cast<NodeId>(program_.nodes.size()) + 1);
  if (!status.ok()) return status;
  if (status = skips_.Check(program_, model_, plan_); !status.ok()) return status;
  if (status = skips_.CheckWhole(program_, model_, plan_); !status.ok()) return status;
  status =
      FinishPlan(plan_, std::move(instructions_), static_cast<int>(slots_.size()), stops_, model_);
  if (!status.ok()) return status;
  return std::move(plan_);
}

absl::Status PlanBuilder::InStatement(const absl::Status& status) const {
  const graph::Error error = graph::FromStatus(status);
  if (error.node != graph::kNoNode) return status;
  return graph::StatementError(status.code(), program_, node_, error.message, error.hint);
}

absl::Status PlanBuilder::Refuse(const std::string& message, const std::string& hint) const {
  return graph::StatementError(absl::StatusCode::kInvalidArgument, program_, node_, message, hint);
}

void PlanBuilder::FindEnds() {
  const auto count = static_cast<NodeId>(program_.nodes.size());
  ends_.assign(count + 1, 0);
  places_.assign(count + 1, -1);
  inputs_.assign(count + 1, -1);
  for (NodeId id = count; id >= 1; --id) {
    ends_[id] = std::max(ends_[id], id + 1);
    const NodeId parent = program_.at(id).parent;
    ends_[parent] = std::max(ends_[parent], ends_[id]);
  }
  int place = 0, input = 0;
  for (NodeId id = 1; id <= count; ++id) {
    if (!std::holds_alternative<graph::Invoke>(program_.at(id).kind)) continue;
    places_[id] = place++;
    inputs_[id] = input;
    input += static_cast<int>(program_.InputsOf(id));
  }
}

absl::Status PlanBuilder::BuildRange(NodeId begin, NodeId end) {
  for (NodeId id = begin; id < end;) {
    node_ = id;
    names_[id] = Name();
    Place(static_cast<int>(id));
    const NodeId next = graph::IsContainer(At()) ? ends_[id] : id + 1;
    // What torch refuses is this statement's, too.
    absl::Status status = CatchTorch(
        [this] { return std::visit([this](const auto& kind) { return Add(kind); }, At().kind); });
    if (!status.ok()) return InStatement(status);
    if (instructions_.size() > kMaxInstructions) {
      return graph::StatementError(
          absl::StatusCode::kResourceExhausted, program_, node_,
          absl::StrCat("up to here the program comes to more than ", kMaxInstructions,
                       " instructions"),
          "split it, or change fewer values in place whose views are used afterwards");
    }
    if (list_items_ > kMaxListItems) {
      return graph::StatementError(
          absl::StatusCode::kResourceExhausted, program_, node_,
          absl::StrCat("up to here the program has lists of more than ", kMaxListItems,
                       " values, of each point of its sweeps"),
          "split it, or take slices of a tensor");
    }
    id = next;
  }
  return absl::OkStatus();
}

absl::Status PlanBuilder::BuildInside() {
  const NodeId container = node_;
  absl::Status status = BuildRange(container + 1, ends_[container]);
  if (status.ok()) node_ = container;
  return status;
}

int PlanBuilder::InvokeIndex() const {
  const NodeId invoke = program_.InvokeOf(node_);
  auto it = invoke_index_.find(invoke);
  return it == invoke_index_.end() ? -1 : it->second;
}

void PlanBuilder::AddFills(const BoundCall& call, When& when) const {
  for (const BoundCall::Fill& fill : call.fills) {
    if (const Slot* slot = std::get_if<Slot>(&fill.from)) {
      when.Add(WhenOf(*slot));
    } else {
      for (Slot slot : std::get<std::vector<Slot>>(fill.from)) {
        if (slot != kNoSlot) when.Add(WhenOf(slot));
      }
    }
  }
}

absl::StatusOr<c10::IValue> PlanBuilder::MetaResult(const BoundCall& call,
                                                    Selected selected) const {
  const AsIfSelected as(selected);
  return RunMeta(*call.row, BindCall(call, program_, [this, selected](Slot slot) {
    return MetaAt(slot, selected);
  }));
}

absl::StatusOr<Slot> PlanBuilder::EmitCall(BoundCall call) {
  absl::StatusOr<c10::IValue> meta = MetaResult(call, Selected::kAll);
  if (!meta.ok()) return meta.status();
  std::vector<Slot> from;
  bool selects = false;
  ForSlots(call, [&](Slot slot) {
    if (SizeByData(slot)) from.push_back(slot);
  });
  for (const BoundCall::Fill& fill : call.fills) {
    const auto* indices = std::get_if<std::vector<Slot>>(&fill.from);
    if (indices == nullptr || !call.row->TakesIndices(fill.argument)) continue;
    for (const Slot index : *indices) {
      selects |= index != kNoSlot && MetaAt(index).toTensor().scalar_type() == at::kBool;
    }
  }
  std::shared_ptr<const OtherSizes> other;
  if (selects || !from.empty()) {
    // Of what a mask selects the kernel itself checks that all fits.
    call.check_sizes = !selects;
    auto found =
        OtherSizesOf(*meta, from, [&](Selected selected) { return MetaResult(call, selected); });
    if (!found.ok()) return found.status();
    other = *std::move(found);
  }
  When when = Start();
  AddFills(call, when);
  const Slot slot = Emit(CallOperator{std::move(call)}, *std::move(meta), when);
  slots_[slot].other = std::move(other);
  return slot;
}

absl::StatusOr<BoundCall> PlanBuilder::Internal(const char* qualified, c10::Stack stack,
                                                std::vector<BoundCall::Fill> fills) {
  const OperatorRow* row = OperatorTable::Get().FindOverload(qualified);
  if (row == nullptr) {
    return absl::InternalError(absl::StrCat(qualified, " is not in the operator table"));
  }
  BoundCall call;
  call.row = row;
  call.stack = std::move(stack);
  for (size_t i = call.stack.size(); i < row->schema().arguments().size(); ++i) {
    call.stack.push_back(row->schema().arguments()[i].default_value().value_or(c10::IValue()));
  }
  call.fills = std::move(fills);
  call.node = node_;
  return call;
}

absl::StatusOr<Slot> PlanBuilder::EmitConvert(Slot value, c10::ScalarType type) {
  absl::StatusOr<BoundCall> call = Internal(
      "aten::to.dtype", {c10::IValue(), c10::IValue(static_cast<int64_t>(type))}, {{0, value}});
  if (!call.ok()) return call.status();
  return EmitCall(*std::move(call));
}

absl::StatusOr<Plan> MakePlan(const graph::Program& program, const ModelSpec& model,
                              absl::Span<const RowCount> rows,
                              absl::Span<const int64_t> points_per_pass, bool every_token) {
  absl::StatusOr<Plan> plan = absl::InternalError("not planned");
  absl::Status status = CatchTorch([&] {
    plan = PlanBuilder(program, model, rows, points_per_pass, every_token).Build();
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return plan;
}

}  // namespace weft::plan
