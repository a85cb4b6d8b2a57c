#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
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
namespace {

/// Where the first tensor of a structure lies in it.
std::vector<graph::IndexTerm> FirstLeaf(const graph::Pattern& pattern) {
  std::vector<graph::IndexTerm> path;
  const auto within = [&path](graph::IndexTerm term, const graph::Pattern& item) {
    if (CountTensors(item) == 0) return false;
    path = FirstLeaf(item);
    path.insert(path.begin(), std::move(term));
    return true;
  };
  const auto among = [&within](const std::vector<graph::Pattern>& items) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (within(static_cast<int64_t>(i), items[i])) return;
    }
  };
  if (const auto* tuple = std::get_if<graph::Pattern::Tuple>(&pattern.value)) among(tuple->items);
  if (const auto* list = std::get_if<graph::Pattern::List>(&pattern.value)) among(list->items);
  if (const auto* dict = std::get_if<graph::Pattern::Dict>(&pattern.value)) {
    for (const auto& [key, value] : dict->entries) {
      if (within(key, value)) break;
    }
  }
  return path;
}

}  // namespace

std::vector<graph::IndexTerm> PlanBuilder::ResultPath() {
  return FirstLeaf(model_.sites()[Trace().result_site].pattern);
}

absl::Status PlanBuilder::RefuseAlone(int module) const {
  return Refuse(absl::StrCat("`", model_.modules()[module].path,
                             "` cannot be called by itself: ", model_.modules()[module].not_alone),
                "trace the whole model, and read or write there");
}

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
  if (found < 0) return FindInside(module, site);
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
  if (InsideOf(site) != nullptr) return ReadInsideInto(name, site, invoke);
  const size_t writes = writers_[{stage_, site}].size();
  std::optional<Slot> slot = VersionAt(site, invoke);
  if (!slot) {
    const auto read = [&](bool point) {
      return Emit(ReadSite{.invoke = invoke, .point = point}, MetaAtSite(site, invoke),
                  AtSite(site));
    };
    slot = read(false);
    if (has_gradients_) {
      // Read whether or not a branch is taken.
      versions_[{stage_, site, invoke}] = {*slot, -1, writes};
      if (has_all_rows_ && !plan_.invokes[invoke].all_rows) points_[*slot] = read(true);
    }
  }
  skips_.AddTouch({node_, site, invoke, stage_});
  names_[name].site = site;
  names_[name].invoke = invoke;
  names_[name].seen_writes = writes;
  return SetFresh(name, *slot);
}

int PlanBuilder::OrderOf(const Instruction& instruction) const {
  // Which may be an earlier trace's, while a later one is built.
  if (!backwards_.contains(instruction.stage / kStageKeys)) return 0;
  enum { kPoint, kAllRows, kRead, kOther, kKinds };
  const auto writers = writers_.find({instruction.stage, instruction.time});
  int writes = writers == writers_.end() ? 0 : static_cast<int>(writers->second.size());
  if (std::holds_alternative<WriteSite>(instruction.what)) --writes;  // it is among them already
  const int version = writes * kKinds;
  const auto* read = std::get_if<ReadSite>(&instruction.what);
  if (read == nullptr) return version + kOther;
  if (read->point) return version + kPoint;
  return version + (plan_.invokes[read->invoke].all_rows ? kAllRows : kRead);
}

std::optional<Slot> PlanBuilder::VersionAt(int site, int invoke) const {
  const auto found = versions_.find({stage_, site, invoke});
  if (found == versions_.end()) return std::nullopt;
  const Version& version = found->second;
  if (version.writes != writers_.at({stage_, site}).size()) return std::nullopt;
  int guard = guard_;
  while (guard >= 0 && guard != version.guard) guard = plan_.guards[guard].parent;
  return guard == version.guard ? std::optional(version.slot) : std::nullopt;
}

bool PlanBuilder::FormerTuple(int site) const {
  const SiteSpec& spec = SpecOf(site);
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
  return Refuse(absl::StrCat("`", SpecOf(site).site.module,
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

int PlanBuilder::StepsKey() const {
  // A later step has the statements of several regions, in the order in which they are written.
  const bool in_region = stage_ != FirstKey(trace_) && stage_ != AfterKey(trace_);
  return in_region ? RegionKey(trace_, 0) : stage_;
}

When PlanBuilder::AtSite(int site) const {
  When when{.stage = stage_, .time = site, .cause = node_};
  const auto step = site_steps_.find({StepsKey(), site});
  if (step != site_steps_.end()) when.step = step->second;
  return when;
}

When PlanBuilder::Settle(int site, const When& needs) {
  When when = AtSite(site);
  const When ready = Guarded(needs);
  if (ready.stage == stage_ && ready.time == site && ready.step > when.step) {
    when.step = site_steps_[{StepsKey(), site}] = ready.step;
  }
  return when;
}

absl::Status PlanBuilder::CheckReady(int site, const When& needs, const std::string& what) const {
  if (InsideOf(site) != nullptr) return CheckReadyInside(site, needs, what);
  const When when = Guarded(needs);
  if (when.stage > stage_) {
    return Refuse(absl::StrCat(what, " needs a value that is there only after the last step"),
                  "compute it inside the steps, or in a later trace");
  }
  if (when.time < site) return absl::OkStatus();
  if (when.time == site && (when.step == 0 || IsOfCall(when.step))) return absl::OkStatus();
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
  if (InsideOf(site) != nullptr) return EmitWriteInside(site, invoke, std::move(steps), value);
  const SiteSpec& spec = model_.sites()[site];
  if (!spec.writable) {
    return Refuse(absl::StrCat("`", graph::ToString(spec.site), "` can be read, not written"));
  }
  int64_t range = 0;
  if (const auto* tensor = std::get_if<graph::Pattern::Tensor>(&spec.pattern.value)) {
    range = tensor->range;
  }
  if (Varies(value)) {
    if (absl::Status known = NeedsSize(value, "this write"); !known.ok()) return known;
  }
  skips_.AddTouch({node_, site, invoke, stage_});
  writers_[{stage_, site}].push_back(invoke);
  When needs = Start();
  needs.Add(WhenOf(value));
  for (const ViewStep& step : steps) AddFills(step.call, needs);
  const When when = Settle(site, needs);
  EmitEffect(WriteSite{invoke, std::move(steps), value, range}, when);
  return absl::OkStatus();
}

absl::Status PlanBuilder::CheckNextToken(const graph::Site& site) {
  const std::string name = absl::StrCat("`", graph::ToString(site), "`");
  if (Trace().root != 0) {
    return Refuse(absl::StrCat("this trace calls ", RootName(), " alone: there is no ", name),
                  "a trace without `root` calls the whole model");
  }
  if (has_gradients_) {
    return Refuse(absl::StrCat(name,
                               " of a trace that goes backwards: what chooses a token has no "
                               "gradient"),
                  "take the last token of `result`");
  }
  if (model_.FindSite(0, site.point, 0) < 0) {
    return Refuse(
        absl::StrCat("the model returns no logits of a next token, so there is no ", name),
        "`weft tree` shows what it returns");
  }
  return absl::OkStatus();
}

bool PlanBuilder::WrittenByOthers(int name) const {
  const auto writers = writers_.find({names_[name].stage, names_[name].site});
  if (writers == writers_.end()) return false;
  const std::vector<int>& invokes = writers->second;
  return std::any_of(invokes.begin() + static_cast<int64_t>(names_[name].seen_writes),
                     invokes.end(),
                     [&](int invoke) { return ShareRows(plan_, invoke, names_[name].invoke); });
}

absl::Status PlanBuilder::ReadGenerated(int invoke, Point point) {
  const bool scores = point == Point::kBeamScores;
  if (plan_.invokes[invoke].all_rows) {
    return Refuse(absl::StrCat("`", scores ? "beam_scores" : "result",
                               "` of all rows of a generation: they end at different lengths"),
                  "read it in each invoke");
  }
  if (selection_) {
    return Refuse("the result of a generation is there after its last step",
                  "read it outside of `steps`");
  }
  std::vector<int64_t> shape = {Trace().ReturnedOf(rows_[invoke].batch)};
  if (!scores) shape.push_back(rows_[invoke].tokens + Trace().steps);
  SetFresh(static_cast<int>(node_),
           Emit(ReadResult{invoke, scores},
                at::empty(shape, at::device(at::kMeta).dtype(scores ? at::kFloat : at::kLong)),
                When{.stage = AfterKey(trace_), .cause = node_}));
  return absl::OkStatus();
}

absl::Status PlanBuilder::Add(const graph::Read& read) {
  const int invoke = InvokeIndex();
  if (graph::OfNextToken(read.site.point)) {
    if (absl::Status status = CheckNextToken(read.site); !status.ok()) return status;
    return ReadSiteInto(static_cast<int>(node_), model_.FindSite(0, read.site.point, 0), invoke)
        .status();
  }
  const bool generated = read.site.point == Point::kBeamScores ||
                         (read.site.point == Point::kResult && Trace().generates);
  if (generated) return ReadGenerated(invoke, read.site.point);
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
  if (read.site.point == Point::kResult) {
    // The first leaf of what the root returns.
    const int root = NewName();
    absl::StatusOr<int> name = ReadSiteInto(root, Trace().result_site, invoke);
    if (!name.ok()) return name.status();
    if (!IsStructure(MetaAt(names_[root].slot))) {
      MakeAlias(node_, root);
      return Current(node_).status();
    }
    int part = root;
    const std::vector<graph::IndexTerm> path = ResultPath();
    for (size_t i = 0; i < path.size(); ++i) {
      ViewStep step;
      if (const auto* key = std::get_if<std::string>(&path[i])) step.item = *key;
      if (const auto* item = std::get_if<int64_t>(&path[i])) step.item = *item;
      absl::StatusOr<int> view = i + 1 < path.size() ? AddView(part, std::move(step))
                                                     : MakeView(node_, part, std::move(step));
      if (!view.ok()) return view.status();
      part = *view;
    }
    return absl::OkStatus();
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
  if (graph::OfNextToken(site.point)) {
    if (absl::Status status = CheckNextToken(site); !status.ok()) return status;
  } else if (graph::OfInvoke(site.point)) {
    if (site.point != Point::kResult) {
      return Refuse(absl::StrCat("`", graph::ToString(site), "` can be read, not written"),
                    "write the embedding's input instead; `logits` and `samples` are what the next "
                    "token comes from");
    }
    site = model_.sites()[Trace().result_site].site;
    // The result is the first leaf of what the root returns; a lone tensor replaces it as it is.
    if (!index.empty() && !std::holds_alternative<graph::Pattern::Tensor>(
                              model_.sites()[Trace().result_site].pattern.value)) {
      const std::vector<graph::IndexTerm> path = ResultPath();
      index.insert(index.begin(), path.begin(), path.end());
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
  if (CountTensors(SpecOf(*output).pattern) > 1) {
    return Refuse(absl::StrCat("`", skip.module, "` returns several tensors, and a skip gives one"),
                  "write its output instead");
  }
  absl::StatusOr<Slot> value = Current(static_cast<int>(skip.value));
  if (!value.ok()) return value.status();
  When when = Start();
  when.Add(WhenOf(*value));
  if (absl::Status status = CheckReady(*input, when, "this skip"); !status.ok()) return status;
  if (absl::Status known = NeedsSize(*value, "this skip"); !known.ok()) return known;
  if (InsideOf(*input) != nullptr) return SkipInsideCall(*input, *output, *value);
  const int invoke = InvokeIndex();
  skips_.AddSkip({node_, *input, *output, invoke, stage_});
  EmitEffect(SkipModule{module, skip.visit, invoke, *value}, Settle(*input, when));
  return absl::OkStatus();
}

}  // namespace weft::plan
