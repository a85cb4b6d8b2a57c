#include "tests/reference/generator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/plan/planner.h"
#include "tests/reference/growing_by_operators.h"
#include "tests/reference/tiny_model.h"

namespace weft::reference {
namespace {

using graph::Point;

/// Sites, regions, invokes, sweeps, traces.
class Generator : private GrowingByOperators {
 public:
  Generator(uint64_t seed, const plan::ModelSpec& spec) : GrowingByOperators(seed, spec) {}

  graph::Program Make() {
    const int traces = Chance(0.15) ? 2 : 1;
    for (int t = 0; t < traces; ++t) AddTrace(t + 1 == traces);
    return std::move(program_);
  }

 private:
  // --- sites

  plan::RowCount RowsHere() const { return rows_; }

  static bool IsOffered(const plan::SiteSpec& site) {
    if (graph::OfNextToken(site.site.point)) return false;
    if (site.site.op.empty()) return !graph::OfAttention(site.site.point);
    // What the plain forward shows of operations.
    const std::string& module = site.site.module;
    if (site.site.point != Point::kOutput) return false;
    if (module != "head" && !absl::EndsWith(module, ".lin")) return false;
    return absl::StartsWith(site.site.op, "mul_") || absl::StartsWith(site.site.op, "add_");
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
    const c10::IValue meta = plan::MetaOf(spec_.sites()[site].pattern, rows_);
    return ForTensors(meta, [&](const at::Tensor& tensor) {
      if (!tensor.is_floating_point())
        return at::randint(0, kVocabulary, tensor.sizes(), at::kLong);
      return at::rand(tensor.sizes()).mul(4).sub(2);
    });
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
    if (result) {
      site = spec_.ResultSite();
      read.site.point = Point::kResult;
    } else {
      read.site = spec_.sites()[*site].site;
    }
    if (sweep_ != graph::kNoNode && Chance(0.4)) {
      read.site = {.module = "layers.$", .point = Point::kOutput};
      read.site.parameters.push_back({1, {sweep_, 0}});
      site =
          spec_.FindSite(spec_.FindModule(absl::StrCat("layers.", kLayers - 1)), Point::kOutput, 0);
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

  bool AddWrite() {
    const bool late = Chance(0.03);
    std::optional<int> site = PickSite(guard_when_);
    if (!site) return false;
    graph::Write write;
    write.site = spec_.sites()[*site].site;
    int latest = late ? kLast : *site;
    const c10::IValue sample = SampleAt(*site);
    at::Tensor leaf;
    ForTensors(sample, [&](const at::Tensor& tensor) { return leaf = tensor; });
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
    const uint32_t visit = path == "norm" ? static_cast<uint32_t>(Below(2)) : 0;
    const int input = spec_.FindSite(module, Point::kInput, visit);
    const int output = spec_.FindSite(module, Point::kOutput, visit);
    if (input < 0 || output < 0 || input < guard_when_) return false;
    at::Tensor leaf;
    ForTensors(SampleAt(output), [&](const at::Tensor& tensor) { return leaf = tensor; });
    Add(graph::Skip{path, visit, Floats(leaf.sizes().vec(), input).id});
    return true;
  }

  bool AddCall() {
    const std::vector<std::string> modules = {"mix",          "norm", "layers.0.lin",
                                              "layers.1.lin", "head", "embed"};
    const std::string& module = Pick(modules);
    Known input;
    if (module == "embed") {
      input = Constant(at::randint(0, kVocabulary, {1 + Below(3), 2}, at::kLong));
    } else if (module == "mix") {
      if (all_rows_) return false;
      input = Floats({rows_.batch, rows_.tokens, kWidth}, kLast);
    } else {
      input = Floats({2, kWidth}, kLast);
    }
    graph::Call call;
    call.module = module;
    call.arguments.push_back(Ref(input.id));
    const at::Tensor sample = PlainModule(module, input.sample.toTensor());
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
    for (const auto& [name, tensor] : Weights()) names.push_back(name);
    const std::string name = Pick(names);
    const NodeId id = Add(graph::Parameter{name}, true);
    Learn(id, Weights().at(name), {NewFamily(plan::kStart)});
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

  bool AddCache() {
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
    const double threshold = static_cast<double>(Below(7) - 3);
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
                        : die < 93 ? AddCache()
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
    for (int64_t i = 0; i < statements; ++i) AddStatement();
    for (int64_t i = 1 + Below(3); i > 0; --i) AddSave();
    if (last && Chance(0.03)) Add(graph::Stop{});
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
        for (int64_t t = 1 + Below(3); t > 0; --t) row.push_back(Below(kVocabulary));
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
    const NodeId trace = Add(graph::Trace{});
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
};

}  // namespace

graph::Program MakeProgram(uint64_t seed, const plan::ModelSpec& spec) {
  const c10::InferenceMode guard;
  return Generator(seed, spec).Make();
}

}  // namespace weft::reference
