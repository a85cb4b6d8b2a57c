#include <ATen/ATen.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/graph/error.h"
#include "engine/graph/text.h"
#include "engine/plan/finish_plan.h"
#include "engine/plan/module_result.h"
#include "engine/plan/plan_builder.h"
#include "engine/plan/planner.h"

namespace weft::plan {

absl::StatusOr<int> PlanBuilder::FindSite(const graph::Site& written) {
  graph::Site site = written;
  absl::StatusOr<std::string> path = Filled(written);
  if (!path.ok()) return path.status();
  site.module = *std::move(path);
  const int module = model_.FindModule(site.module);
  if (module < 0) {
    return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                 absl::StrCat("the model has no module `", site.module, "`"),
                                 model_.Suggest(site.module));
  }
  const int found = model_.FindSite(module, site.point, site.visit, site.op);
  if (found < 0) return model_.NoSuchSite(module, site);
  if (!InTrace(found)) {
    return graph::StatementError(
        absl::StatusCode::kNotFound, program_, node_,
        absl::StrCat("`", graph::ToString(site), "` is not inside `", RootPath(),
                     "`, the one module that this trace calls"),
        "a trace without `root` calls the whole model");
  }
  return found;
}

absl::StatusOr<PlanBuilder::SitePlace> PlanBuilder::FindPlace(const graph::Site& site) {
  graph::Site whole = site;
  if (site.op.empty() || site.point != Point::kInput) {
    absl::StatusOr<int> found = FindSite(whole);
    if (!found.ok()) return found.status();
    return SitePlace{*found, {}};
  }
  whole.point = Point::kInputs;
  absl::StatusOr<int> found = FindSite(whole);
  if (!found.ok()) return found.status();
  return SitePlace{*found, model_.sites()[*found].first_input};
}

absl::Status PlanBuilder::ReadPlaceInto(int name, const SitePlace& place, int invoke) {
  if (place.items.empty()) return ReadSiteInto(name, place.site, invoke).status();
  int part = NewName();
  absl::StatusOr<int> read = ReadSiteInto(part, place.site, invoke);
  if (!read.ok()) return read.status();
  for (size_t i = 0; i < place.items.size(); ++i) {
    ViewStep step;
    step.item = place.items[i];
    absl::StatusOr<int> item = i + 1 < place.items.size() ? AddView(part, std::move(step))
                                                          : MakeView(name, part, std::move(step));
    if (!item.ok()) return item.status();
    part = *item;
  }
  return absl::OkStatus();
}

absl::StatusOr<int> PlanBuilder::ReadSiteInto(int name, int site, int invoke) {
  const Slot slot = Emit(ReadSite{invoke, false}, MetaAtSite(site, invoke), AtSite(site));
  skips_.AddTouch({node_, site, invoke, stage_});
  names_[name].site = site;
  names_[name].invoke = invoke;
  return SetFresh(name, slot);
}

bool PlanBuilder::FormerTuple(int site) const {
  const SiteSpec& spec = model_.sites()[site];
  return spec.OfModule() && spec.site.point == Point::kOutput &&
         model_.modules()[spec.module].former_tuple;
}

bool PlanBuilder::TupleOutputs() {
  return std::get<graph::Trace>(program_.at(Trace().node).kind).tuple_outputs;
}

absl::Status PlanBuilder::CheckNoTuple(int site, absl::Span<const graph::IndexTerm> terms,
                                       bool write) {
  if (!FormerTuple(site) || TupleOutputs() || terms.empty() ||
      !std::holds_alternative<int64_t>(terms[0]) || std::get<int64_t>(terms[0]) != 0) {
    return absl::OkStatus();
  }
  if (terms.size() > 1) {
    const auto* second = std::get_if<graph::Slice>(&terms[1]);
    if (!write || second == nullptr || second->start || second->stop || second->step) {
      return absl::OkStatus();
    }
  }
  return Refuse(absl::StrCat("`", model_.sites()[site].site.module,
                             ".output` is a tensor [batch, tokens, ...], not a tuple: [0] would be "
                             "its first row"),
                "leave out [0]; where the row is meant write [0:1] or .row(0); `tuple_outputs` "
                "gives tuples as older versions did");
}

absl::Status PlanBuilder::CheckNoTupleOf(NodeId target, absl::Span<const graph::IndexTerm> terms,
                                         bool write) {
  int name = static_cast<int>(target);
  while (names_[name].alias) name = names_[name].base;
  if (names_[name].base >= 0 || names_[name].site < 0) return absl::OkStatus();
  return CheckNoTuple(names_[name].site, terms, write);
}

absl::StatusOr<Slot> PlanBuilder::OutputAmong(NodeId value) {
  absl::StatusOr<Slot> slot = Current(static_cast<int>(value));
  if (!slot.ok() || MetaAt(*slot).isTensor()) return slot;
  const c10::IValue meta = MetaAt(*slot);
  if (!meta.isTuple() || meta.toTupleRef().elements().size() != 1) {
    return Refuse(absl::StrCat("the value is ", graph::ToString(PatternOf(meta)),
                               ", and this output is (tensor,)"),
                  "give that structure, or the tensor alone");
  }
  return FirstItem(value, 1);
}

absl::Status PlanBuilder::ReadInputs(const graph::Site& site, int invoke) {
  graph::Site one = site;
  one.point = Point::kInput;
  absl::StatusOr<int> input = FindSite(one);
  if (!input.ok()) return input.status();
  const int tensor = NewName(), positional = NewName(), named = NewName();
  absl::StatusOr<int> read = ReadSiteInto(tensor, *input, invoke);
  if (!read.ok()) return read.status();
  auto item = [](int name) {
    graph::Argument argument;
    argument.value = graph::NodeRef{static_cast<NodeId>(name)};
    return argument;
  };
  using Kind = graph::Structure::Kind;
  absl::Status status = AddStructure(positional, Kind::kTuple, {item(tensor)});
  if (status.ok()) status = AddStructure(named, Kind::kDict, {});
  if (!status.ok()) return status;
  return AddStructure(static_cast<int>(node_), Kind::kTuple, {item(positional), item(named)});
}

absl::StatusOr<Slot> PlanBuilder::InputAmong(NodeId value) {
  absl::StatusOr<Slot> slot = Current(static_cast<int>(value));
  if (!slot.ok() || MetaAt(*slot).isTensor()) return slot;
  const c10::IValue meta = MetaAt(*slot);
  const auto fits = [&] {
    if (!meta.isTuple() || meta.toTupleRef().elements().size() != 2) return false;
    const c10::IValue &positional = meta.toTupleRef().elements()[0],
                      &named = meta.toTupleRef().elements()[1];
    return positional.isTuple() && positional.toTupleRef().elements().size() == 1 &&
           positional.toTupleRef().elements()[0].isTensor() && named.isGenericDict() &&
           named.toGenericDict().empty();
  };
  if (!fits()) {
    return Refuse(absl::StrCat("the value is ", graph::ToString(PatternOf(meta)),
                               ", and this module's inputs are ((tensor,), {})"),
                  "give that structure, or the tensor alone");
  }
  return FirstItem(value, 2);
}

absl::StatusOr<Slot> PlanBuilder::FirstItem(NodeId value, int depth) {
  int name = static_cast<int>(value);
  for (int i = 0; i < depth; ++i) {
    ViewStep step;
    step.item = int64_t{0};
    absl::StatusOr<int> item = ItemOf(name, std::move(step));
    if (!item.ok()) return item.status();
    name = *item;
  }
  return Current(name);
}

absl::Status PlanBuilder::CheckReady(int site, const When& needs, const std::string& what) const {
  const When when = Guarded(needs);
  if (when.stage > stage_) {
    return Refuse(absl::StrCat(what, " needs a value that is there only after the last step"),
                  "compute it inside the steps, or in a later trace");
  }
  if (when.time < site || (when.time == site && when.step == 0)) return absl::OkStatus();
  if (when.time == site) {
    return Refuse(absl::StrCat(what, " needs a gradient of what is visited here"),
                  "write at a later site");
  }
  const std::string& late = graph::ToString(model_.sites()[when.time].site);
  const std::string& early = graph::ToString(model_.sites()[site].site);
  std::string message = absl::StrCat(what, " needs a value that is there too late: ", early,
                                     " is visited before ", late);
  if (when.cause != graph::kNoNode) {
    absl::StrAppend(&message, ", on which it depends by\n  ",
                    graph::PrintStatement(program_, when.cause));
  }
  return Refuse(message, absl::StrCat("write at ", late,
                                      " or later; where the value is only "
                                      "computed with, use the operator that makes a new value"));
}

absl::Status PlanBuilder::EmitWrite(int site, int invoke, std::vector<ViewStep> steps, Slot value) {
  const SiteSpec& spec = model_.sites()[site];
  if (!spec.writable) {
    return Refuse(absl::StrCat("`", graph::ToString(spec.site), "` can be read, not written"));
  }
  int64_t range = 0;
  if (const auto* tensor = std::get_if<graph::Pattern::Tensor>(&spec.pattern.value)) {
    range = tensor->range;
  }
  skips_.AddTouch({node_, site, invoke, stage_});
  EmitEffect(WriteSite{invoke, std::move(steps), value, range}, AtSite(site));
  return absl::OkStatus();
}

absl::Status PlanBuilder::ReadGenerated(int invoke) {
  if (plan_.invokes[invoke].all_rows) {
    return Refuse("`result` of all rows of a generation: they end at different lengths",
                  "read it in each invoke");
  }
  if (selection_) {
    return Refuse("the result of a generation is there after its last step",
                  "read it outside of `steps`");
  }
  const int64_t tokens = rows_[invoke].tokens + Trace().steps;
  SetFresh(static_cast<int>(node_),
           Emit(ReadResult{invoke},
                at::empty({rows_[invoke].batch, tokens}, at::device(at::kMeta).dtype(at::kLong)),
                When{.stage = AfterKey(trace_), .cause = node_}));
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Read& read) {
  const int invoke = InvokeIndex();
  if (graph::OfInvoke(read.site.point) && read.site.point != Point::kResult) {
    if (read.site.point != Point::kRows && !CallsWithIds()) {
      return Refuse(absl::StrCat("this trace calls ", RootName(),
                                 " with activations: there is no `", graph::ToString(read.site),
                                 "`"));
    }
    const RowCount rows = RowsNow(invoke);
    std::vector<int64_t> shape = {rows.batch};
    if (read.site.point != Point::kRows) shape.push_back(rows.tokens);
    SetFresh(node_, Emit(ReadInvoke{invoke, read.site.point},
                         at::empty(shape, at::device(at::kMeta).dtype(at::kLong)), Start()));
    return absl::OkStatus();
  }
  if (read.site.point == Point::kResult && Trace().generates) {
    return ReadGenerated(invoke);
  }
  if (read.site.point == Point::kResult) {
    // The first leaf of what the root returns.
    const int root = NewName();
    absl::StatusOr<int> name = ReadSiteInto(root, Trace().result_site, invoke);
    if (!name.ok()) return name.status();
    if (!IsStructure(MetaAt(names_[root].slot))) {
      MakeAlias(node_, root);
      return Current(node_).status();
    }
    ViewStep step;
    step.item = int64_t{0};
    return MakeView(node_, root, std::move(step)).status();
  }
  if (read.site.op.empty() && read.site.point == Point::kInputs) {
    return ReadInputs(read.site, invoke);
  }
  absl::StatusOr<SitePlace> place = FindPlace(read.site);
  if (!place.ok()) return place.status();
  if (FormerTuple(place->site) && TupleOutputs()) {
    const int tensor = NewName();
    absl::StatusOr<int> item = ReadSiteInto(tensor, place->site, invoke);
    if (!item.ok()) return item.status();
    graph::Argument argument;
    argument.value = graph::NodeRef{static_cast<NodeId>(tensor)};
    return AddStructure(static_cast<int>(node_), graph::Structure::Kind::kTuple, {argument});
  }
  return ReadPlaceInto(static_cast<int>(node_), *place, invoke);
}

absl::Status PlanBuilder::Add(const graph::Write& write) {
  const int invoke = InvokeIndex();
  graph::Site site = write.site;
  std::vector<graph::IndexTerm> index = write.index;
  if (graph::OfInvoke(site.point)) {
    if (site.point != Point::kResult) {
      return Refuse(absl::StrCat("`", graph::ToString(site), "` can be read, not written"),
                    "write the embedding's input instead");
    }
    site = model_.sites()[Trace().result_site].site;
    // The result is the first leaf of what the root returns; a lone tensor replaces it as it is.
    if (!index.empty() && !std::holds_alternative<graph::Pattern::Tensor>(
                              model_.sites()[Trace().result_site].pattern.value)) {
      index.insert(index.begin(), int64_t{0});
    }
  }
  const bool inputs = site.op.empty() && site.point == Point::kInputs;
  if (inputs) {
    site.point = Point::kInput;
    for (int i = 0; i < 2 && !index.empty(); ++i) {
      const auto* item = std::get_if<int64_t>(&index.front());
      if (item == nullptr || *item != 0) {
        return Refuse("this module's inputs are ((tensor,), {})",
                      "write `inputs[0][0]`, or a part of it");
      }
      index.erase(index.begin());
    }
  }
  absl::StatusOr<SitePlace> place = FindPlace(site);
  if (!place.ok()) return place.status();
  const int* const found = &place->site;
  const bool tuple = FormerTuple(*found) && TupleOutputs();
  if (tuple && !index.empty()) {
    const auto* item = std::get_if<int64_t>(&index.front());
    if (item == nullptr || *item != 0) {
      return Refuse("with `tuple_outputs` this output is (tensor,)",
                    "write `output[0]`, or a part of it");
    }
    index.erase(index.begin());
  }
  if (absl::Status tensor = CheckNoTuple(*found, index, /*write=*/true); !tensor.ok()) {
    return tensor;
  }
  index.insert(index.begin(), place->items.begin(), place->items.end());
  const std::string what = absl::StrCat("this write");
  if (!index.empty()) {
    const int name = NewName();
    if (absl::StatusOr<int> read = ReadSiteInto(name, *found, invoke); !read.ok()) {
      return read.status();
    }
    return AssignTo(name, index, write.value, what);
  }
  absl::StatusOr<Slot> value = inputs  ? InputAmong(write.value)
                               : tuple ? OutputAmong(write.value)
                                       : Current(static_cast<int>(write.value));
  if (!value.ok()) return value.status();
  When when = Start();
  when.Add(WhenOf(*value));
  if (absl::Status status = CheckReady(*found, when, what); !status.ok()) return status;
  return EmitWrite(*found, invoke, {}, *value);
}

absl::Status PlanBuilder::Add(const graph::Call& call) {
  if (call.watched) return NotExecuted("call.watched");
  const int module = model_.FindModule(call.module);
  if (module < 0) {
    return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                 absl::StrCat("the model has no module `", call.module, "`"),
                                 model_.Suggest(call.module));
  }
  const int input = model_.FindSite(module, Point::kInput, 0);
  const int output = model_.FindSite(module, Point::kOutput, 0);
  if (call.module.empty() || input < 0 || output < 0) {
    return Refuse("the root, and modules that the model itself never calls, cannot be called");
  }
  if (call.arguments.size() != 1 || !call.arguments[0].name.empty() ||
      !std::holds_alternative<graph::NodeRef>(call.arguments[0].value)) {
    return Refuse("a module is called with one value");
  }
  absl::StatusOr<Slot> slot =
      Current(static_cast<int>(std::get<graph::NodeRef>(call.arguments[0].value).id));
  if (!slot.ok()) return slot.status();
  const int invoke = InvokeIndex();
  absl::StatusOr<c10::IValue> meta =
      ModuleResult(model_, module, MetaAt(*slot), invoke < 0 ? RowCount{} : RowsNow(invoke),
                   invoke >= 0 && plan_.invokes[invoke].all_rows);
  if (!meta.ok()) return meta.status();
  When when = Start();
  when.Add(WhenOf(*slot));
  SetFresh(node_, Emit(CallModule{module, invoke, *slot}, *std::move(meta), when));
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Skip& skip) {
  const int module = model_.FindModule(skip.module);
  if (module < 0) {
    return graph::StatementError(absl::StatusCode::kNotFound, program_, node_,
                                 absl::StrCat("the model has no module `", skip.module, "`"),
                                 model_.Suggest(skip.module));
  }
  if (skip.module.empty()) return Refuse("the root cannot be skipped", "use `stop`");
  absl::StatusOr<int> input = FindSite({skip.module, Point::kInput, skip.visit});
  if (!input.ok()) return input.status();
  absl::StatusOr<int> output = FindSite({skip.module, Point::kOutput, skip.visit});
  if (!output.ok()) return output.status();
  absl::StatusOr<Slot> value = Current(static_cast<int>(skip.value));
  if (!value.ok()) return value.status();
  When when = Start();
  when.Add(WhenOf(*value));
  if (absl::Status status = CheckReady(*input, when, "this skip"); !status.ok()) return status;
  const int invoke = InvokeIndex();
  skips_.AddSkip({node_, *input, *output, invoke, stage_});
  EmitEffect(SkipModule{module, skip.visit, invoke, *value}, AtSite(*input));
  return absl::OkStatus();
}

}  // namespace weft::plan
