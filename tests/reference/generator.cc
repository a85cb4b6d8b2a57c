#include "tests/reference/generator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/plan/planner.h"
#include "tests/reference/growing_by_operators.h"
#include "tests/reference/plain_model.h"

namespace weft::reference {
namespace {

using graph::Point;

/// Sites, regions, invokes, sweeps, traces.
class Generator : private GrowingByOperators {
 public:
  Generator(uint64_t seed, const PlainModel& model, const plan::ModelSpec& spec)
      : GrowingByOperators(seed, model, spec) {}

  graph::Program Make() {
    const int64_t die = Below(10);
    goes_backwards_ = die < 2;
    generates_ = die >= 2 && die < 5;
    const int traces = Chance(0.15) ? 2 : 1;
    for (int t = 0; t < traces; ++t) AddTrace(t + 1 == traces);
    return std::move(program_);
  }

 private:
  // --- sites

  plan::RowCount RowsHere() const { return rows_; }

  /// What the plain forward shows.
  bool IsOffered(const plan::SiteSpec& site) const {
    if (graph::OfNextToken(site.site.point)) return false;
    if (graph::OfAttention(site.site.point)) {
      // Of several steps these have several shapes.
      const bool grows = site.site.point == Point::kScores || site.site.point == Point::kProbs;
      return !grows || !several_steps_;
    }
    if (site.site.op.empty()) return true;
    const bool output = site.site.point == Point::kOutput;
    if (absl::StartsWith(site.site.op, "scaled_dot_product")) return output;
    const std::string& module = site.site.module;
    const bool dense = model_.Weights().count(module + ".bias") > 0;
    return dense &&
           (absl::StartsWith(site.site.op, "mul_") || absl::StartsWith(site.site.op, "add_"));
  }
  std::optional<int> PickSite(int earliest) {
    std::vector<int> sites;
    for (size_t t = 0; t < spec_.sites().size(); ++t) {
      const plan::SiteSpec& site = spec_.sites()[t];
      if (!IsOffered(site) || static_cast<int>(t) < earliest) continue;
      // Operations are many.
      if (!site.site.op.empty() && !Chance(0.1)) continue;
      sites.push_back(static_cast<int>(t));
    }
    if (sites.empty()) return std::nullopt;
    return Pick(sites);
  }
  c10::IValue SampleAt(int site) {
    plan::RowCount rows = rows_;
    if (generates_ && spec_.sites()[site].last_token) rows.tokens = 1;
    const c10::IValue meta = plan::MetaOf(spec_.sites()[site].pattern, rows, past_);
    return ForTensors(meta, [&](const at::Tensor& tensor) {
      if (!tensor.is_floating_point()) {
        return at::randint(0, model_.vocabulary(), tensor.sizes(), at::kLong);
      }
      return at::rand(tensor.sizes()).mul(4).sub(2);
    });
  }
  static at::Tensor FirstOf(const c10::IValue& value) {
    at::Tensor first;
    ForTensors(value, [&](const at::Tensor& tensor) {
      if (!first.defined()) first = tensor;
      return tensor;
    });
    return first;
  }

  bool AddRead() {
    if (Chance(0.15)) {
      const Point point =
          Pick(std::vector{Point::kIds, Point::kMask, Point::kPositions, Point::kRows});
      const NodeId id = Add(graph::Read{{.point = point}}, true);
      std::vector<int64_t> shape = {rows_.batch};
      if (point != Point::kRows) shape.push_back(rows_.tokens);
      Learn(id, at::randint(0, 2, shape, at::kLong), {NewFamily(plan::kStart)});
      return true;
    }
    std::optional<int> site = PickSite(plan::kStart);
    graph::Read read;
    bool result = Chance(0.1);
    if (result && generates_) return AddGenerated();
    if (result) {
      site = spec_.ResultSite();
      read.site.point = Point::kResult;
    } else {
      read.site = spec_.sites()[*site].site;
    }
    if (sweep_ != graph::kNoNode && Chance(0.4)) {
      read.site = {.module = "layers.$", .point = Point::kOutput};
      read.site.parameters.push_back({1, {sweep_, 0}});
      site = spec_.FindSite(spec_.FindModule("layers.1"), Point::kOutput, 0);
      result = false;
    }
    c10::IValue sample = SampleAt(*site);
    if (result) sample = sample.toGenericDict().begin()->value();
    const int family = NewFamily(*site);
    // In a sweep a site may be an earlier one.
    families_[family].site = read.site.parameters.empty()
                                 ? *site
                                 : spec_.FindSite(spec_.FindModule("layers.0"), Point::kOutput, 0);
    families_[family].when = std::max(families_[family].when, *site);
    if (!read.site.op.empty() && read.site.point == Point::kInputs) {
      // A sum's two arguments are shown one by one.
      if (absl::StartsWith(read.site.op, "add_") || Chance(0.5)) {
        read.site.point = Point::kInput;
        sample = FirstOf(sample);
      }
    }
    if (!result && read.site.op.empty() && read.site.point == Point::kInput && Chance(0.3)) {
      read.site.point = Point::kInputs;
      sample = c10::ivalue::Tuple::create(
          {c10::IValue(c10::ivalue::Tuple::create({sample})),
           c10::IValue(c10::impl::GenericDict(c10::StringType::get(), c10::AnyType::get()))});
    }
    const NodeId id = Add(std::move(read), true);
    Learn(id, sample, {family});
    return true;
  }

  /// What a generation comes to.
  bool AddGenerated() {
    if (all_rows_ || in_steps_) return false;
    graph::Read read;
    read.site.point = Point::kResult;
    const at::Tensor sample =
        at::randint(0, model_.vocabulary(), {rows_.batch, rows_.tokens + steps_}, at::kLong);
    Learn(Add(std::move(read), true), sample, {NewFamily(kLast)});
    return true;
  }

  bool AddWrite() {
    const bool late = Chance(0.03);
    std::optional<int> site = PickSite(guard_when_);
    if (!site) return false;
    graph::Write write;
    write.site = spec_.sites()[*site].site;
    int latest = late ? kLast : *site;
    const bool of_operator = !write.site.op.empty() && write.site.point == Point::kInputs;
    if (of_operator) write.site.point = Point::kInput;
    const c10::IValue sample =
        of_operator ? c10::IValue(FirstOf(SampleAt(*site))) : SampleAt(*site);
    const at::Tensor leaf = FirstOf(sample);
    if (!leaf.is_floating_point()) {
      write.value = Constant(leaf).id;
      Add(std::move(write));
      return true;
    }
    if (sweep_ != graph::kNoNode && write.site.module == "layers.0" && write.site.op.empty() &&
        write.site.point == Point::kOutput) {
      write.site.module = "layers.$";
      write.site.parameters.push_back({1, {sweep_, 0}});
    }
    if (Chance(0.5)) {
      write.value = Floats(leaf.sizes().vec(), latest).id;
      Add(std::move(write));
      return true;
    }
    const Mark mark = Here();
    if (sample.isTuple()) write.index.push_back(int64_t{0});
    if (sample.isGenericDict()) write.index.push_back(std::string("logits"));
    std::vector<Known> used;
    const auto terms = Chance(0.2) ? AdvancedTerms(leaf, used) : BasicTerms(leaf);
    write.index.insert(write.index.end(), terms.begin(), terms.end());
    try {
      const Indexed found = TryIndex(leaf, terms, used);
      const at::Tensor part = found.indices.empty()
                                  ? found.view.toTensor()
                                  : at::index(found.view.toTensor(), found.indices);
      const Known value = ValueFor(part.sizes().vec(), latest);
      AssignTo(found, value.sample.toTensor());
      write.value = value.id;
    } catch (const std::exception&) {
      return BackTo(mark), false;
    }
    Add(std::move(write));
    return true;
  }

  bool AddSkip() {
    const int module =
        static_cast<int>(1 + Below(static_cast<int64_t>(spec_.modules().size()) - 1));
    const std::string& path = spec_.modules()[module].path;
    const uint32_t visit =
        path == "norm" && !model_.rounded() ? static_cast<uint32_t>(Below(2)) : 0;
    const int input = spec_.FindSite(module, Point::kInput, visit);
    const int output = spec_.FindSite(module, Point::kOutput, visit);
    if (input < 0 || output < 0 || input < guard_when_) return false;
    const at::Tensor leaf = FirstOf(SampleAt(output));
    Add(graph::Skip{path, visit, Floats(leaf.sizes().vec(), input).id});
    return true;
  }

  bool AddCall() {
    const auto& [module, width] = Pick(model_.Callable());
    Known input;
    if (width.empty()) {
      input = Constant(at::randint(0, model_.vocabulary(), {1 + Below(3), 2}, at::kLong));
    } else if (module == "mix") {
      if (all_rows_) return false;
      input = Floats({rows_.batch, rows_.tokens, width[0]}, kLast);
    } else {
      input = Floats({2, width[0]}, kLast);
    }
    graph::Call call;
    call.module = module;
    call.arguments.push_back(Ref(input.id));
    const at::Tensor sample = model_.Module(module, input.sample.toTensor());
    const int when = WhenOf(input);
    Learn(Add(std::move(call), true), sample, {NewFamily(when)});
    return true;
  }

  // --- the rest

  bool AddStructure() {
    graph::Structure structure;
    structure.kind = static_cast<graph::Structure::Kind>(1 + Below(3));
    const int64_t count = 1 + Below(3);
    std::vector<int> families;
    std::vector<c10::IValue> items;
    c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
    c10::impl::GenericList list(c10::AnyType::get());
    for (int64_t i = 0; i < count; ++i) {
      const auto item = Find(
          [](const Known& known) { return known.sample.isTensor() || known.sample.isTuple(); });
      if (!item) return false;
      const bool keyed = structure.kind == graph::Structure::Kind::kDict;
      structure.items.push_back(Ref(item->id, keyed ? absl::StrCat("k", i) : ""));
      families.insert(families.end(), item->families.begin(), item->families.end());
      items.push_back(item->sample);
      list.push_back(item->sample);
      dict.insert(absl::StrCat("k", i), item->sample);
    }
    const auto kind = structure.kind;
    const NodeId id = Add(std::move(structure), true);
    Learn(id,
          kind == graph::Structure::Kind::kTuple  ? c10::IValue(c10::ivalue::Tuple::create(items))
          : kind == graph::Structure::Kind::kDict ? c10::IValue(dict)
                                                  : c10::IValue(list),
          families);
    return true;
  }

  bool AddParameter() {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : model_.Weights()) names.push_back(name);
    const std::string name = Pick(names);
    const NodeId id = Add(graph::Parameter{name}, true);
    Learn(id, model_.Weights().at(name), {NewFamily(plan::kStart)});
    return true;
  }

  bool AddSave() {
    const auto value = Find([](const Known& known) { return !known.sample.isNone(); });
    if (!value) return false;
    graph::Save save;
    save.name = absl::StrCat("s", saves_++);
    save.value = value->id;
    if (Chance(0.1)) save.dtype = Chance(0.5) ? graph::DType::kF64 : graph::DType::kF16;
    Add(std::move(save));
    return true;
  }

  bool AddCache(int depth) {
    if (depth > 0) return false;  // in a branch it is refused
    graph::Cache cache;
    cache.name = absl::StrCat("c", saves_++);
    for (int64_t i = Below(3); i > 0; --i) {
      const std::string& path =
          spec_.modules()[Below(static_cast<int64_t>(spec_.modules().size()))].path;
      if (path.empty() || path == "layers") continue;
      if (std::find(cache.modules.begin(), cache.modules.end(), path) != cache.modules.end()) {
        continue;
      }
      cache.modules.push_back(path);
    }
    cache.include_inputs = Chance(0.3);
    if (Chance(0.2)) cache.dtype = graph::DType::kF64;
    Add(std::move(cache));
    return true;
  }

  bool AddIf(int depth) {
    const auto about = FindFloats(kLast);
    if (!about || depth > 1) return false;
    const int when = WhenOf(*about);
    const NodeId sum = Add(graph::Operator{"aten::sum", {Ref(about->id)}}, true);
    // Sums are often whole numbers, but for their last bit.
    const double threshold = static_cast<double>(Below(7) - 3) + 0.3;
    const NodeId condition =
        Add(graph::Operator{"aten::gt.Scalar", {Ref(sum), Literal(threshold)}}, true);
    const auto yielded = FindFloats(kLast);
    const NodeId choice = Add(graph::If{condition});
    const NodeId outside = std::exchange(parent_, choice);
    const int outside_when = std::exchange(guard_when_, std::max(guard_when_, when));
    int latest = when;
    for (const bool otherwise : {false, true}) {
      const size_t known = known_.size();
      parent_ = Add(graph::Branch{otherwise});
      const NodeId branch = parent_;
      for (int64_t i = 1 + Below(3); i > 0; --i) AddStatement(depth + 1);
      NodeId value = yielded->id;
      if (otherwise) {
        value = Add(graph::Operator{"aten::neg", {Ref(value)}}, true);
      }
      parent_ = branch;
      latest = std::max(latest, WhenOf(*yielded));
      Add(graph::Yield{{value}});
      known_.resize(known);
      parent_ = choice;
    }
    parent_ = outside;
    guard_when_ = outside_when;
    const NodeId id = Add(graph::RegionResult{choice, 0}, true);
    Learn(id, yielded->sample, {NewFamily(latest)});
    return true;
  }

  bool AddOfSweep() {
    const auto about = FindFloats(kLast);
    if (sweep_ == graph::kNoNode || !about) return false;
    const int when = WhenOf(*about);
    graph::Operator op{"aten::mul.Scalar", {Ref(about->id), Argument()}};
    op.arguments[1].value = graph::SweepUse{sweep_, 1};
    Learn(Add(std::move(op), true), about->sample, {NewFamily(when)});
    return true;
  }

  // --- steps

  /// Steps that are all alike in shape: the first one, or later ones.
  struct Choice {
    graph::Steps steps;
    bool first = false, later = false;
    int64_t count = 0, last = 0;
  };
  Choice ChooseSteps() {
    Choice choice;
    graph::Steps& steps = choice.steps;
    if (Chance(0.3)) {
      std::set<int64_t> listed;
      for (int64_t i = 1 + Below(2); i > 0; --i) listed.insert(Below(steps_ + 1));
      steps.list.assign(listed.begin(), listed.end());
    } else {
      if (Chance(0.7)) steps.range.start = Below(steps_ + 1);
      if (Chance(0.4)) steps.range.stop = steps.range.start.value_or(0) + 1 + Below(steps_ + 1);
      if (Chance(0.2)) steps.range.step = 1 + Below(2);
    }
    for (int64_t step = 0; step < steps_; ++step) {
      const bool listed = std::find(steps.list.begin(), steps.list.end(), step) != steps.list.end();
      const int64_t start = steps.range.start.value_or(0);
      const bool ranged = step >= start && step < steps.range.stop.value_or(steps_) &&
                          (step - start) % steps.range.step.value_or(1) == 0;
      if (steps.list.empty() ? !ranged : !listed) continue;
      (step == 0 ? choice.first : choice.later) = true;
      choice.last = step;
      ++choice.count;
    }
    return choice;
  }

  bool AddSteps() {
    Choice choice = ChooseSteps();
    if (choice.first && choice.later && rows_.tokens > 1) return false;
    std::vector<Known> carried;
    for (int64_t i = Below(3); i > 0; --i) {
      const auto initial = FindFloats(kLast - 1);
      if (initial && initial->sample.toTensor().numel() <= 64) carried.push_back(*initial);
    }
    for (const Known& initial : carried) choice.steps.initial.push_back(initial.id);
    const NodeId outside = parent_;
    const NodeId region = Add(graph::Steps(choice.steps));
    const plan::RowCount rows = rows_;
    const std::vector<Family> families = families_;
    const size_t known = known_.size();
    const int64_t past = past_;
    parent_ = region;
    in_steps_ = true;
    several_steps_ = choice.count != 1;
    if (choice.later && !choice.first) {
      past_ = rows.tokens + choice.last - 1;
      rows_.tokens = 1;
      // What an earlier step made is there.
      for (Family& family : families_) {
        if (family.when < kLast) family.when = plan::kStart;
      }
    }
    for (Family& family : families_) {
      if (family.when == kLast) family.when = kNever;
    }
    for (size_t i = 0; i < carried.size(); ++i) {
      const NodeId carry = Add(graph::Carry{static_cast<uint32_t>(i)}, true);
      Learn(carry, carried[i].sample, {NewFamily(WhenOf(carried[i]))});
    }
    if (Chance(0.8)) AddRead();
    for (int64_t i = 1 + Below(5); i > 0; --i) AddStatement(1);
    if (Chance(0.7)) AddSave();
    if (Chance(0.15)) AddCache(0);
    std::vector<NodeId> yields;
    for (const Known& initial : carried) {
      yields.push_back(Floats(initial.sample.toTensor().sizes().vec(), kLast - 1).id);
    }
    if (!carried.empty()) Add(graph::Yield{std::move(yields)});
    parent_ = outside;
    in_steps_ = several_steps_ = false;
    rows_ = rows;
    past_ = past;
    known_.resize(known);
    std::copy(families.begin(), families.end(), families_.begin());
    for (size_t i = 0; i < carried.size(); ++i) {
      const NodeId id = Add(graph::RegionResult{region, static_cast<uint32_t>(i)}, true);
      Learn(id, carried[i].sample, {NewFamily(kLast)});
    }
    return true;
  }

  // --- gradients

  /// What a loss may depend on, and what of it gradients are asked for.
  bool AddBackward() {
    const std::vector<const char*> late = {"", "head", "layers.1", "layers.1.lin"};
    const int site = spec_.FindSite(spec_.FindModule(Pick(late)), Point::kOutput, 0);
    const NodeId read = Add(graph::Read{spec_.sites()[site].site}, true);
    c10::IValue sample = SampleAt(site);
    const int family = NewFamily(site);
    families_[family].site = site;
    Known output = Learn(read, sample, {family});
    if (!sample.isTensor()) {
      const bool keyed = sample.isGenericDict();
      const auto term = keyed ? IndexTerm(std::string("logits")) : IndexTerm(int64_t{0});
      output = Learn(Add(graph::Index{read, {term}}, true), FirstOf(sample), {family});
    }
    NodeId squared =
        Add(graph::Operator{"aten::mul.Tensor", {Ref(output.id), Ref(output.id)}}, true);
    NodeId loss = Add(graph::Operator{"aten::mean", {Ref(squared)}}, true);
    const std::optional<Known> other = Chance(0.4) ? FindFloats(kLast) : std::nullopt;
    if (other) {
      const NodeId bounded = Add(graph::Operator{"aten::sigmoid", {Ref(other->id)}}, true);
      const NodeId mean = Add(graph::Operator{"aten::mean", {Ref(bounded)}}, true);
      loss = Add(graph::Operator{"aten::add.Tensor", {Ref(loss), Ref(mean)}}, true);
    }
    std::vector<Known> targets;
    for (int64_t i = 1 + Below(3); i > 0; --i) {
      const bool any = Chance(0.1);
      const auto target = Find([&](const Known& known) {
        if (!IsFloat(known) || known.sample.toTensor().numel() == 0 || known.overlapping ||
            known.families.size() != 1) {
          return false;
        }
        const Family& of = families_[known.families[0]];
        return any || (of.site >= 0 && of.site < site && of.invoke == invoke_);
      });
      if (target) targets.push_back(*target);
    }
    if (other && !other->overlapping && Chance(0.5)) targets.push_back(*other);
    if (targets.empty()) return false;
    const NodeId outside = parent_;
    parent_ = Add(graph::Backward{loss});
    for (const Known& target : targets) {
      const at::Tensor like = target.sample.toTensor();
      const NodeId gradient = Add(graph::GradRead{target.id}, true);
      const at::Tensor alike = at::rand(like.sizes()).sub(0.5);
      Learn(gradient, alike, {NewFamily(kLast)});
      if (Chance(0.3)) {
        NodeId value = gradient;
        if (Chance(0.5)) {
          value = Constant(at::rand(like.sizes()).sub(0.5)).id;
        } else {
          value = Add(graph::Operator{"aten::mul.Scalar", {Ref(gradient), Literal(0.5)}}, true);
        }
        Add(graph::GradWrite{target.id, value});
        if (Chance(0.5)) {
          Learn(Add(graph::GradRead{target.id}, true), alike, {NewFamily(kLast)});
        }
      }
      if (Chance(0.3)) AddOperator();
      if (Chance(0.2)) AddIndex();
      if (Chance(0.5)) AddSave();
    }
    parent_ = outside;
    return true;
  }

  void AddStatement(int depth = 0) {
    for (int attempt = 0; attempt < 8; ++attempt) {
      const int64_t die = Below(100);
      const bool done = die < 18   ? AddRead()
                        : die < 50 ? AddOperator()
                        : die < 62 ? AddIndex()
                        : die < 72 ? AddWrite()
                        : die < 79 ? AddAssign()
                        : die < 82 ? AddStructure()
                        : die < 85 ? AddCall()
                        : die < 87 ? AddParameter()
                        : die < 91 ? AddSave()
                        : die < 92 ? AddLog()
                        : die < 93 ? AddCache(depth)
                        : die < 94 ? AddSkip()
                        : die < 96 ? AddIf(depth)
                                   : AddOfSweep();
      if (done) return;
    }
  }
  bool AddLog() {
    const auto value = Find([](const Known& known) { return known.sample.isTensor(); });
    if (!value) return false;
    Add(graph::Log{value->id, "seen"});
    return true;
  }

  void AddInvoke(bool all, plan::RowCount rows, std::vector<std::vector<int64_t>> tokens,
                 bool last) {
    const NodeId outside = parent_;
    graph::Invoke invoke;
    if (all) {
      invoke.input = graph::Invoke::AllRows{};
    } else {
      invoke.input = graph::Invoke::Tokens{std::move(tokens)};
    }
    parent_ = invoke_ = Add(std::move(invoke));
    rows_ = rows;
    all_rows_ = all;
    AddRead();
    const int64_t statements = 2 + Below(9);
    for (int64_t i = 0; i < statements; ++i) {
      AddStatement();
      if (generates_ && Chance(0.2)) AddSteps();
    }
    if (goes_backwards_ && Chance(0.8)) AddBackward();
    if (goes_backwards_ && Chance(0.2)) {
      AddStatement();
      AddBackward();
    }
    for (int64_t i = 1 + Below(3); i > 0; --i) AddSave();
    if (last && !generates_ && Chance(0.03)) Add(graph::Stop{});
    parent_ = outside;
    invoke_ = graph::kNoNode;
  }

  void AddInvokes(bool last) {
    const int64_t count = 1 + (Chance(0.4) ? Below(3) : 0);
    std::vector<std::vector<std::vector<int64_t>>> tokens;
    plan::RowCount all;
    for (int64_t i = 0; i < count; ++i) {
      auto& rows = tokens.emplace_back();
      for (int64_t r = 1 + (Chance(0.3) ? 1 : 0); r > 0; --r) {
        auto& row = rows.emplace_back();
        const int64_t longest = generates_ && short_ ? 1 : 3;
        for (int64_t t = 1 + Below(longest); t > 0; --t) row.push_back(Below(model_.vocabulary()));
      }
      all.batch += static_cast<int64_t>(rows.size());
      for (const auto& row : rows) {
        all.tokens = std::max(all.tokens, static_cast<int64_t>(row.size()));
      }
    }
    const int64_t all_at = Chance(0.3) ? Below(count + 1) : -1;
    for (int64_t i = 0; i <= count; ++i) {
      if (i == all_at) AddInvoke(true, all, {}, last && i == count);
      if (i == count) break;
      plan::RowCount rows{static_cast<int64_t>(tokens[i].size()), 0};
      for (const auto& row : tokens[i]) {
        rows.tokens = std::max(rows.tokens, static_cast<int64_t>(row.size()));
      }
      AddInvoke(false, rows, tokens[i], last && i + 1 == count && all_at != count);
    }
  }

  void AddTrace(bool last) {
    parent_ = graph::kNoNode;
    graph::Trace header;
    if (generates_) {
      auto options = std::make_shared<graph::GenerateOptions>();
      steps_ = 1 + Below(4);
      options->max_new_tokens = static_cast<uint32_t>(steps_);
      header.generate = std::move(options);
      short_ = Chance(0.5);
    }
    const NodeId trace = Add(std::move(header));
    parent_ = trace;
    // A new pass: what was computed is there from its start.
    for (Family& family : families_) {
      family.when = plan::kStart;
      family.site = -1;
      family.maybe = true;
    }
    const bool sweeps = Chance(0.12);
    if (!sweeps || Chance(0.5)) AddInvokes(last && !sweeps);
    if (!sweeps) return;
    graph::Sweep sweep;
    sweep.parameters.push_back({absl::StrCat("l", names_++), std::vector<int64_t>{0, 1}});
    sweep.parameters.push_back({absl::StrCat("x", names_++), std::vector<double>{0.5, -2.0}});
    // What was made before is read-only in here.
    const size_t known = known_.size();
    for (Family& family : families_) family.maybe = true;
    sweep_ = Add(std::move(sweep));
    parent_ = sweep_;
    AddInvokes(last);
    parent_ = trace;
    sweep_ = graph::kNoNode;
    known_.resize(known);
  }

  /// Later than whatever a statement can wait for.
  static constexpr int kNever = kLast + 1;

  bool goes_backwards_ = false, generates_ = false;
  bool short_ = false;  // its prompts are one token, so that all steps are alike
  int64_t steps_ = 1, past_ = 0;
  bool in_steps_ = false, several_steps_ = false;
};

}  // namespace

graph::Program MakeProgram(uint64_t seed, const PlainModel& model, const plan::ModelSpec& spec) {
  const c10::InferenceMode guard;
  return Generator(seed, model, spec).Make();
}

}  // namespace weft::reference
