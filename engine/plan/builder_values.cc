#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"
#include "engine/plan/plan_builder.h"
#include "engine/plan/planner.h"

namespace weft::plan {

absl::Status PlanBuilder::Add(const graph::Constant& constant) {
  if (constant.tensor.data == nullptr && !constant.blob.empty()) {
    return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                 "the bytes of this blob are not here",
                                 "whoever runs the program finds them before");
  }
  const c10::IValue meta = at::empty(
      constant.tensor.shape, at::device(at::kMeta).dtype(ToScalarType(constant.tensor.dtype)));
  SetFresh(node_, Emit(LoadConstant{}, meta, Start()));
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Parameter& parameter) {
  auto it = model_.parameters().find(parameter.path);
  if (it == model_.parameters().end()) {
    return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                 absl::StrCat("the model has no parameter `", parameter.path, "`"),
                                 "parameters are named as in the checkpoint, such as "
                                 "`transformer.wte.weight`");
  }
  plan_.uses_weights = true;
  const c10::IValue meta =
      at::empty(it->second.shape, at::device(at::kMeta).dtype(ToScalarType(it->second.dtype)));
  SetFresh(node_, Emit(LoadParameter{parameter.path}, meta, Start()));
  return absl::OkStatus();
}

absl::StatusOr<c10::IValue> PlanBuilder::ArgumentMeta(const graph::Argument& argument,
                                                      std::vector<Slot>* list_slots, Slot* slot) {
  if (const auto* use = std::get_if<graph::SweepUse>(&argument.value)) {
    return ArgumentMeta({argument.name, ValueOf(*use)}, list_slots, slot);
  }
  if (const auto* ref = std::get_if<graph::NodeRef>(&argument.value)) {
    absl::StatusOr<Slot> current = Current(ref->id);
    if (!current.ok()) return current.status();
    *slot = *current;
    return MetaAt(*current);
  }
  if (const auto* flag = std::get_if<bool>(&argument.value)) return c10::IValue(*flag);
  if (const auto* number = std::get_if<int64_t>(&argument.value)) return c10::IValue(*number);
  if (const auto* number = std::get_if<double>(&argument.value)) return c10::IValue(*number);
  if (const auto* text = std::get_if<std::string>(&argument.value)) return c10::IValue(*text);
  if (const auto* dtype = std::get_if<graph::DType>(&argument.value)) {
    return c10::IValue(static_cast<int64_t>(ToScalarType(*dtype)));
  }
  if (const auto* list = std::get_if<graph::Argument::List>(&argument.value)) {
    return ListMeta(*list, list_slots);
  }
  return c10::IValue();
}

absl::StatusOr<c10::IValue> PlanBuilder::ListMeta(const graph::Argument::List& list,
                                                  std::vector<Slot>* slots) {
  size_t tensors = 0, ints = 0, floats = 0, bools = 0, nones = 0;
  for (const graph::Argument& item : list) {
    tensors += std::holds_alternative<graph::NodeRef>(item.value);
    ints += std::holds_alternative<int64_t>(item.value);
    floats += std::holds_alternative<double>(item.value);
    bools += std::holds_alternative<bool>(item.value);
    nones += std::holds_alternative<std::monostate>(item.value);
  }
  if (tensors + nones == list.size() && tensors > 0) {
    c10::List<std::optional<at::Tensor>> optional;
    c10::List<at::Tensor> plain;
    for (const graph::Argument& item : list) {
      if (std::holds_alternative<std::monostate>(item.value)) {
        slots->push_back(kNoSlot);
        optional.push_back(std::nullopt);
        continue;
      }
      absl::StatusOr<Slot> slot = Current(std::get<graph::NodeRef>(item.value).id);
      if (!slot.ok()) return slot.status();
      if (!MetaAt(*slot).isTensor()) {
        return Refuse("a list of tensors holds a value that is no tensor");
      }
      slots->push_back(*slot);
      optional.push_back(MetaAt(*slot).toTensor());
      plain.push_back(MetaAt(*slot).toTensor());
    }
    if (nones > 0) return c10::IValue(std::move(optional));
    return c10::IValue(std::move(plain));
  }
  if (ints == list.size()) {
    c10::List<int64_t> out;
    for (const graph::Argument& item : list) out.push_back(std::get<int64_t>(item.value));
    return c10::IValue(std::move(out));
  }
  if (bools == list.size()) {
    c10::List<bool> out;
    for (const graph::Argument& item : list) out.push_back(std::get<bool>(item.value));
    return c10::IValue(std::move(out));
  }
  if (ints + floats == list.size()) {
    c10::List<double> out;
    for (const graph::Argument& item : list) {
      const auto* number = std::get_if<double>(&item.value);
      out.push_back(number != nullptr ? *number
                                      : static_cast<double>(std::get<int64_t>(item.value)));
    }
    return c10::IValue(std::move(out));
  }
  return Refuse("a list must hold values only, or numbers only, or booleans only",
                "make numbers into values with aten::full first");
}

absl::Status PlanBuilder::Add(const graph::Operator& op) {
  std::vector<CallArgument> arguments;
  std::vector<Slot> single(op.arguments.size(), kNoSlot);
  std::vector<std::vector<Slot>> lists(op.arguments.size());
  arguments.reserve(op.arguments.size());
  for (size_t i = 0; i < op.arguments.size(); ++i) {
    absl::StatusOr<c10::IValue> meta = ArgumentMeta(op.arguments[i], &lists[i], &single[i]);
    if (!meta.ok()) return meta.status();
    arguments.push_back({op.arguments[i].name, *std::move(meta)});
  }
  absl::StatusOr<ResolvedCall> resolved = ResolveCall(op.name, arguments);
  if (!resolved.ok()) return resolved.status();

  BoundCall call;
  call.row = resolved->row;
  call.stack = std::move(resolved->stack);
  call.node = node_;
  for (size_t a = 0; a < resolved->source.size(); ++a) {
    const int from = resolved->source[a];
    if (from < 0) continue;
    if (single[from] != kNoSlot) {
      call.fills.push_back({static_cast<int>(a), single[from]});
      call.stack[a] = c10::IValue();
    } else if (!lists[from].empty()) {
      call.fills.push_back({static_cast<int>(a), lists[from]});
      call.stack[a] = c10::IValue();
    } else if (std::holds_alternative<double>(op.arguments[from].value)) {
      call.floats.push_back({static_cast<int>(a), from});
    }
  }
  if (call.row->in_place()) return AddInPlace(std::move(call), op, resolved->source[0]);

  if (call.row->makes == Makes::kView || call.row->makes == Makes::kOverlappingView) {
    const auto* base = std::get_if<graph::NodeRef>(&op.arguments[resolved->source[0]].value);
    if (base == nullptr) return Refuse("the first argument of a view must be a value");
    ViewStep step;
    step.overlapping = call.row->makes == Makes::kOverlappingView;
    std::erase_if(call.fills, [](const BoundCall::Fill& fill) { return fill.argument == 0; });
    step.call = std::move(call);
    return MakeView(node_, static_cast<int>(base->id), std::move(step)).status();
  }
  const bool maybe = call.row->makes == Makes::kMaybeView;
  absl::StatusOr<Slot> slot = EmitCall(std::move(call));
  if (!slot.ok()) return slot.status();
  SetFresh(node_, *slot);
  if (maybe) names_[node_].maybe_view_by = op.name;
  return absl::OkStatus();
}

absl::Status PlanBuilder::AddInPlace(BoundCall call, const graph::Operator& op, int self_argument) {
  const auto* self = std::get_if<graph::NodeRef>(&op.arguments[self_argument].value);
  if (self == nullptr) return Refuse("the first argument of an in-place operator is a value");
  const at::Tensor before = MetaAt(std::get<Slot>(call.fills.front().from)).toTensor();
  call.row = call.row->fresh;
  call.shape_of = 0;
  absl::StatusOr<Slot> after = EmitCall(std::move(call));
  if (!after.ok()) return after.status();
  at::Tensor result = MetaAt(*after).toTensor();
  if (result.sizes() != before.sizes()) {
    return Refuse(
        absl::StrCat(op.name, " would change the shape of ", Shown(static_cast<int>(self->id)),
                     " from ", c10::str(before.sizes()), " to ", c10::str(result.sizes())),
        "use the operator that makes a new value");
  }
  if (result.scalar_type() != before.scalar_type()) {
    if (!c10::canCast(result.scalar_type(), before.scalar_type())) {
      return Refuse(
          absl::StrCat(op.name, " gives ", graph::ToString(FromScalarType(result.scalar_type())),
                       ", which ", graph::ToString(FromScalarType(before.scalar_type())),
                       " cannot hold"),
          "use the operator that makes a new value");
    }
    after = EmitConvert(*after, before.scalar_type());
    if (!after.ok()) return after.status();
  }
  absl::Status status = Replace(static_cast<int>(self->id), *after, op.name);
  if (!status.ok()) return status;
  MakeAlias(node_, static_cast<int>(self->id));
  return Current(node_).status();
}

absl::StatusOr<PlanBuilder::Indexed> PlanBuilder::FollowIndex(
    int target, const std::vector<graph::IndexTerm>& written) {
  absl::StatusOr<std::vector<graph::IndexTerm>> filled = Filled(written);
  if (!filled.ok()) return filled.status();
  const std::vector<graph::IndexTerm>& terms = *filled;
  Indexed out;
  out.name = target;
  size_t next = 0;
  // Items of structures first.
  while (next < terms.size()) {
    absl::StatusOr<Slot> slot = Current(out.name);
    if (!slot.ok()) return slot.status();
    if (!IsStructure(MetaAt(*slot))) break;
    ViewStep step;
    if (const auto* key = std::get_if<std::string>(&terms[next])) {
      step.item = *key;
    } else if (const auto* index = std::get_if<int64_t>(&terms[next])) {
      step.item = *index;
    } else {
      return Refuse("a structure is indexed by an integer or a key");
    }
    absl::StatusOr<int> item = ItemOf(out.name, std::move(step));
    if (!item.ok()) return item.status();
    out.name = *item;
    ++next;
  }
  if (next == terms.size()) return out;
  absl::StatusOr<Slot> slot = Current(out.name);
  if (!slot.ok()) return slot.status();
  if (!MetaAt(*slot).isTensor()) return Refuse("only tensors and structures can be indexed");
  return FollowTensorIndex(std::move(out), absl::MakeConstSpan(terms).subspan(next));
}

absl::StatusOr<PlanBuilder::Indexed> PlanBuilder::FollowTensorIndex(
    Indexed out, absl::Span<const graph::IndexTerm> terms) {
  absl::StatusOr<Slot> slot = Current(out.name);
  if (!slot.ok()) return slot.status();
  const int64_t rank = MetaAt(*slot).toTensor().dim();
  int64_t consumed = 0;
  bool ellipsis = false;
  for (const graph::IndexTerm& term : terms) {
    if (std::holds_alternative<std::string>(term)) {
      return Refuse("a tensor is not indexed by a key");
    }
    if (std::holds_alternative<graph::Ellipsis>(term)) {
      if (ellipsis) return Refuse("an index has at most one `...`");
      ellipsis = true;
    } else if (const auto* ref = std::get_if<graph::NodeRef>(&term)) {
      absl::StatusOr<int64_t> dims = IndexTensorDims(ref->id);
      if (!dims.ok()) return dims.status();
      consumed += *dims;
    } else if (!std::holds_alternative<graph::NewAxis>(term)) {
      ++consumed;
    }
  }
  if (consumed > rank) {
    return Refuse(absl::StrCat("too many indices: ", consumed, " for a tensor of ", rank,
                               " dimensions of shape ",
                               c10::str(MetaAt(*slot).toTensor().sizes())));
  }
  int64_t dim = 0;
  for (const graph::IndexTerm& term : terms) {
    if (std::holds_alternative<graph::Ellipsis>(term)) {
      dim += rank - consumed;
      continue;
    }
    absl::StatusOr<BoundCall> call;
    if (const auto* index = std::get_if<int64_t>(&term)) {
      call = Internal("aten::select.int", {c10::IValue(), dim, *index}, {});
    } else if (const auto* slice = std::get_if<graph::Slice>(&term)) {
      if (slice->step.value_or(1) <= 0) {
        return Refuse("the step of a slice must be positive", "turn it round with aten::flip");
      }
      if (!slice->start && !slice->stop && slice->step.value_or(1) == 1) {
        ++dim;
        continue;
      }
      auto bound = [](const std::optional<int64_t>& value) {
        return value ? c10::IValue(*value) : c10::IValue();
      };
      call = Internal(
          "aten::slice.Tensor",
          {c10::IValue(), dim++, bound(slice->start), bound(slice->stop), slice->step.value_or(1)},
          {});
    } else if (std::holds_alternative<graph::NewAxis>(term)) {
      call = Internal("aten::unsqueeze", {c10::IValue(), dim++}, {});
    } else {
      const NodeId id = std::get<graph::NodeRef>(term).id;
      absl::StatusOr<Slot> indices = Current(id);
      if (!indices.ok()) return indices.status();
      const at::Tensor meta = MetaAt(*indices).toTensor();
      const bool mask = meta.scalar_type() == at::kBool;
      if (out.mask || (mask && !out.indices.empty())) {
        return Refuse("a mask stands beside no other tensor in an index",
                      "combine masks with aten::logical_and, or use aten::where");
      }
      out.mask = mask;
      out.indices.resize(dim, kNoSlot);
      out.indices.push_back(*indices);
      dim += mask ? meta.dim() : 1;
      continue;
    }
    if (!call.ok()) return call.status();
    ViewStep step;
    step.call = *std::move(call);
    absl::StatusOr<int> view = AddView(out.name, std::move(step));
    if (!view.ok()) return view.status();
    out.name = *view;
  }
  return out;
}

absl::StatusOr<int64_t> PlanBuilder::IndexTensorDims(NodeId id) {
  absl::StatusOr<Slot> slot = Current(static_cast<int>(id));
  if (!slot.ok()) return slot.status();
  const c10::IValue& meta = MetaAt(*slot);
  if (!meta.isTensor() || (meta.toTensor().scalar_type() != at::kBool &&
                           !c10::isIntegralType(meta.toTensor().scalar_type(), false))) {
    return Refuse(absl::StrCat("an index must be a tensor of integers or a mask, and ",
                               Shown(static_cast<int>(id)), " is neither"));
  }
  return meta.toTensor().scalar_type() == at::kBool ? meta.toTensor().dim() : 1;
}

absl::Status PlanBuilder::Add(const graph::Index& index) {
  absl::Status tensor = CheckNoTupleOf(index.target, index.terms, /*write=*/false);
  if (!tensor.ok()) return tensor;
  absl::StatusOr<Indexed> found = FollowIndex(static_cast<int>(index.target), index.terms);
  if (!found.ok()) return found.status();
  if (found->mask) {
    return Refuse("how many elements a mask selects depends on data",
                  "use aten::where or aten::masked_fill, take a given number of places with "
                  "aten::nonzero_static, or assign: `%x[%mask] = %v`");
  }
  if (found->indices.empty()) {
    MakeAlias(node_, found->name);
    return Current(node_).status();
  }
  absl::StatusOr<Slot> base = Current(found->name);
  if (!base.ok()) return base.status();
  absl::StatusOr<BoundCall> call = Internal("aten::index.Tensor", {c10::IValue(), c10::IValue()},
                                            {{0, *base}, {1, found->indices}});
  if (!call.ok()) return call.status();
  absl::StatusOr<Slot> slot = EmitCall(*std::move(call));
  if (!slot.ok()) return slot.status();
  SetFresh(node_, *slot);
  return absl::OkStatus();
}

absl::Status PlanBuilder::AssignTo(int target, const std::vector<graph::IndexTerm>& terms,
                                   NodeId value, const std::string& what) {
  absl::StatusOr<Indexed> found = FollowIndex(target, terms);
  if (!found.ok()) return found.status();
  absl::StatusOr<Slot> source = Current(static_cast<int>(value));
  if (!source.ok()) return source.status();
  if (!MetaAt(*source).isTensor()) return Refuse("what is assigned to a slice must be a tensor");
  absl::StatusOr<Slot> base = Current(found->name);
  if (!base.ok()) return base.status();
  if (!MetaAt(*base).isTensor()) return Refuse("only tensors can be assigned to");
  const at::Tensor before = MetaAt(*base).toTensor();
  const auto misfit = [&] {
    return Refuse(absl::StrCat("a value of shape ", c10::str(MetaAt(*source).toTensor().sizes()),
                               " does not fit into ", c10::str(before.sizes())));
  };

  absl::StatusOr<BoundCall> call;
  if (found->mask) {
    absl::StatusOr<Slot> converted = EmitConvert(*source, before.scalar_type());
    if (!converted.ok()) return converted.status();
    Slot mask = found->indices.back();
    const at::Tensor mask_meta = MetaAt(mask).toTensor();
    const auto first = static_cast<int64_t>(found->indices.size()) - 1;
    absl::Status fits = MaskFits(mask_meta.sizes(), before.sizes().slice(first));
    if (!fits.ok()) return fits;
    const int64_t behind = before.dim() - first - mask_meta.dim();
    // The elements that a mask of several dimensions selects lie in one.
    const at::IntArrayRef given = MetaAt(*source).toTensor().sizes();
    if (mask_meta.dim() > 1 && static_cast<int64_t>(given.size()) > behind &&
        given != before.sizes() && MetaAt(*source).toTensor().numel() != 1) {
      return Refuse(
          absl::StrCat("a value of shape ", c10::str(given), " is assigned to what a mask of ",
                       mask_meta.dim(), " dimensions selects"),
          "give one number, or the shape of what is indexed");
    }
    for (int64_t dim = 0; dim < behind; ++dim) {
      absl::StatusOr<BoundCall> unsqueeze =
          Internal("aten::unsqueeze", {c10::IValue(), int64_t{-1}}, {{0, mask}});
      if (!unsqueeze.ok()) return unsqueeze.status();
      absl::StatusOr<Slot> wider = EmitCall(*std::move(unsqueeze));
      if (!wider.ok()) return wider.status();
      mask = *wider;
    }
    call = Internal("aten::where.self", {c10::IValue(), c10::IValue(), c10::IValue()},
                    {{0, mask}, {1, *converted}, {2, *base}});
    if (call.ok()) {
      call->shape_of = 2;
      call->mask_dims = mask_meta.dim();
    }
  } else if (!found->indices.empty()) {
    absl::StatusOr<Slot> converted = EmitConvert(*source, before.scalar_type());
    if (!converted.ok()) return converted.status();
    call = Internal("aten::index_put", {c10::IValue(), c10::IValue(), c10::IValue()},
                    {{0, *base}, {1, found->indices}, {2, *converted}});
  } else if (names_[found->name].base == -1 || names_[found->name].alias) {
    // All of it: as copy_ broadcasts and converts, but with a gradient.
    if (!at::is_expandable_to(MetaAt(*source).toTensor().sizes(), before.sizes())) return misfit();
    absl::StatusOr<Slot> converted = EmitConvert(*source, before.scalar_type());
    if (!converted.ok()) return converted.status();
    absl::StatusOr<BoundCall> expanded =
        Internal("aten::expand_as", {c10::IValue(), c10::IValue()}, {{0, *converted}, {1, *base}});
    if (!expanded.ok()) return expanded.status();
    absl::StatusOr<Slot> whole = EmitCall(*std::move(expanded));
    if (!whole.ok()) return whole.status();
    call = Internal("aten::clone", {c10::IValue()}, {{0, *whole}});
  } else {
    return Replace(found->name, *source, what);
  }
  if (!call.ok()) return call.status();
  absl::StatusOr<Slot> result = EmitCall(*std::move(call));
  if (!result.ok()) return result.status();
  if (MetaAt(*result).toTensor().sizes() != before.sizes()) {
    return misfit();
  }
  return Replace(found->name, *result, what);
}

absl::Status PlanBuilder::Add(const graph::Assign& assign) {
  absl::Status tensor = CheckNoTupleOf(assign.target, assign.index, /*write=*/true);
  if (!tensor.ok()) return tensor;
  return AssignTo(static_cast<int>(assign.target), assign.index, assign.value, "this assignment");
}

}  // namespace weft::plan
