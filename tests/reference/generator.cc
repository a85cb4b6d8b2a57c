#include "tests/reference/generator.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/plan/operators.h"
#include "engine/plan/planner.h"
#include "tests/plan/operator_samples.h"
#include "tests/reference/call.h"
#include "tests/reference/indexing.h"
#include "tests/reference/tiny_model.h"

namespace weft::reference {
namespace {

using graph::Argument;
using graph::IndexTerm;
using graph::NodeId;
using graph::NodeRef;
using graph::Point;
using plan::OperatorRow;

/// Names that share memory, as far as the generator has to know.
struct Family {
  int when = plan::kStart;  // the latest site that its values depend on
  int site = -1;            // where its root was read
  NodeId invoke = graph::kNoNode;
  NodeId region = graph::kNoNode;
  bool maybe = false;  // not to be changed in place
};

/// A value that statements may use, with a random one of its kind.
struct Known {
  NodeId id = graph::kNoNode;
  c10::IValue sample;
  std::vector<int> families;
  bool overlapping = false;
};

const std::vector<const OperatorRow*>& Rows() {
  static const auto* const kRows = [] {
    auto* rows = new std::vector<const OperatorRow*>();
    for (const OperatorRow* row : plan::OperatorTable::Get().rows()) rows->push_back(row);
    return rows;
  }();
  return *kRows;
}

/// Their results hang on the last bit of their arguments, or fail on most: only given ones will do.
bool WantsItsOwnArguments(const OperatorRow& row) {
  for (const char* part : {"linalg", "inverse", "det", "cholesky", "matrix_power", "corrcoef"}) {
    if (absl::StrContains(row.name, part)) return true;
  }
  return row.random;
}

class Generator {
 public:
  Generator(uint64_t seed, const plan::ModelSpec& spec) : seed_(seed), random_(seed), spec_(spec) {
    at::manual_seed(seed);
  }

  graph::Program Make() {
    const int traces = Chance(0.15) ? 2 : 1;
    for (int t = 0; t < traces; ++t) AddTrace(t + 1 == traces);
    return std::move(program_);
  }

 private:
  // --- dice
  // ---------------------------------------------------------------------------------------

  int64_t Below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  bool Chance(double p) { return std::bernoulli_distribution(p)(random_); }
  template <typename T>
  const T& Pick(const std::vector<T>& from) {
    return from[Below(static_cast<int64_t>(from.size()))];
  }

  // --- nodes
  // --------------------------------------------------------------------------------------

  template <typename Kind>
  NodeId Add(Kind kind, bool named = false) {
    graph::Node node;
    node.parent = parent_;
    if (named) node.name = absl::StrCat("v", names_++);
    node.kind = std::move(kind);
    program_.nodes.push_back(std::move(node));
    return static_cast<NodeId>(program_.nodes.size());
  }

  int NewFamily(int when) {
    families_.push_back(
        {.when = std::max(when, guard_when_), .invoke = invoke_, .region = parent_});
    return static_cast<int>(families_.size()) - 1;
  }
  int WhenOf(const Known& known) const {
    int when = plan::kStart;
    for (const int family : known.families) when = std::max(when, families_[family].when);
    return when;
  }
  const Known& Learn(NodeId id, c10::IValue sample, std::vector<int> families,
                     bool overlapping = false) {
    known_.push_back({id, std::move(sample), std::move(families), overlapping});
    return known_.back();
  }

  NodeId AddConstant(const at::Tensor& given) {
    const at::Tensor tensor = given.contiguous();
    const auto* data = static_cast<const char*>(tensor.const_data_ptr());
    auto host =
        graph::HostTensor::Make(plan::FromScalarType(tensor.scalar_type()), tensor.sizes().vec(),
                                std::string(data, data == nullptr ? 0 : tensor.nbytes()));
    graph::Constant constant;
    constant.tensor = *std::move(host);
    return Add(std::move(constant), true);
  }
  Known Constant(const at::Tensor& tensor) {
    const NodeId id = AddConstant(tensor);
    return {id, tensor, {NewFamily(plan::kStart)}};
  }

  static Argument Ref(NodeId id, const std::string& name = "") {
    Argument argument;
    argument.name = name;
    argument.value = NodeRef{id};
    return argument;
  }
  template <typename T>
  static Argument Literal(T value) {
    Argument argument;
    argument.value = std::move(value);
    return argument;
  }

  /// Of a tensor of floats one of any shape: elements of it, at given places.
  Known Adapt(const Known& from, const std::vector<int64_t>& shape, bool bounded) {
    const at::Tensor sample = from.sample.toTensor();
    const Known places = Constant(at::randint(0, sample.numel(), shape, at::kLong));
    graph::Operator take{"aten::take", {Ref(from.id), Ref(places.id)}};
    NodeId id = Add(std::move(take), true);
    at::Tensor made = sample.take(places.sample.toTensor());
    if (bounded) {
      id = Add(graph::Operator{"aten::sigmoid", {Ref(id)}}, true);
      made = made.sigmoid();
    }
    return Learn(id, made, {NewFamily(WhenOf(from))});
  }

  static bool IsFloat(const Known& known) {
    return known.sample.isTensor() && known.sample.toTensor().scalar_type() == at::kFloat;
  }
  template <typename Wanted>
  std::optional<Known> Find(const Wanted& wanted) {
    std::vector<const Known*> found;
    for (const Known& known : known_) {
      if (wanted(known)) found.push_back(&known);
    }
    if (found.empty()) return std::nullopt;
    return *Pick(found);
  }
  std::optional<Known> FindFloats(int latest) {
    return Find([&](const Known& known) {
      return IsFloat(known) && known.sample.toTensor().numel() > 0 && WhenOf(known) <= latest;
    });
  }

  /// A float32 tensor of one shape that is there by the site `latest`.
  Known Floats(const std::vector<int64_t>& shape, int latest) {
    if (Chance(0.4)) {
      const auto same = Find([&](const Known& known) {
        return IsFloat(known) && known.sample.toTensor().sizes() == shape &&
               WhenOf(known) <= latest;
      });
      if (same) return *same;
    }
    if (const auto from = Chance(0.8) ? FindFloats(latest) : std::nullopt) {
      return Adapt(*from, shape, Chance(0.5));
    }
    return Constant(at::rand(shape).mul(2).sub(1));
  }

  // --- operators
  // ----------------------------------------------------------------------------------

  /// A tensor like that of a sample call.
  Known TensorLike(const at::Tensor& sample, const OperatorRow& row, bool first) {
    const bool own = WantsItsOwnArguments(row);
    const auto type = sample.scalar_type();
    if (!own && first && row.index_ranges.empty() && Chance(0.4)) {
      const auto any = Find([&](const Known& known) {
        return known.sample.isTensor() && known.sample.toTensor().scalar_type() == type;
      });
      if (any) return *any;
    }
    if (!own && Chance(type == at::kLong ? 0.03 : 0.4)) {
      const auto same = Find([&](const Known& known) {
        return known.sample.isTensor() && known.sample.toTensor().scalar_type() == type &&
               known.sample.toTensor().sizes() == sample.sizes();
      });
      if (same) return *same;
    }
    if (!own && type == at::kFloat && Chance(0.5)) {
      if (const auto from = FindFloats(kLast)) return Adapt(*from, sample.sizes().vec(), true);
    }
    return Constant(sample);
  }

  Argument ArgumentLike(const c10::IValue& value, const c10::Argument& schema,
                        const OperatorRow& row, bool first, std::vector<Known>& used) {
    if (value.isTensor()) {
      used.push_back(TensorLike(value.toTensor(), row, first));
      return Ref(used.back().id);
    }
    if (value.isInt()) {
      const auto type = schema.real_type()->str();
      if (absl::StrContains(type, "ScalarType")) {
        return Literal(plan::FromScalarType(static_cast<at::ScalarType>(value.toInt())));
      }
      return Literal(value.toInt());
    }
    if (value.isDouble()) return Literal(value.toDouble());
    if (value.isBool()) return Literal(value.toBool());
    if (value.isString()) return Literal(std::string(value.toStringRef()));
    if (value.isList()) {
      Argument::List list;
      for (const c10::IValue& item : value.toListRef()) {
        list.push_back(ArgumentLike(item, schema, row, false, used));
      }
      return Literal(std::move(list));
    }
    return Argument();
  }

  static const c10::Argument& SchemaOf(const OperatorRow& row, const std::string& name, size_t i) {
    const auto& arguments = row.schema().arguments();
    for (const c10::Argument& argument : arguments) {
      if (!name.empty() && argument.name() == name) return argument;
    }
    return arguments[std::min(i, arguments.size() - 1)];
  }

  at::ScalarType DTypeFor(const OperatorRow& row) {
    std::vector<at::ScalarType> types;
    const auto add = [&](int bit, at::ScalarType type, int times) {
      for (int i = 0; (row.dtypes & bit) != 0 && i < times; ++i) types.push_back(type);
    };
    add(plan::kWideFloats, at::kFloat, 12);
    add(plan::kInts, at::kLong, 2);
    add(plan::kBools, at::kBool, 1);
    add(plan::kShortFloats, at::kBFloat16, 1);
    add(plan::kComplex, at::kComplexFloat, 2);
    return types.empty() ? at::kFloat : Pick(types);
  }

  /// The value that an in-place operator, or an assignment, may change here.
  bool MayChange(const Known& known, int needs) const {
    if (known.overlapping || known.families.size() != 1) return false;
    const Family& family = families_[known.families[0]];
    if (family.maybe || family.region != parent_) return false;
    return family.site < 0 || (family.invoke == invoke_ && needs <= family.site);
  }

  bool AddOperator() {
    const auto count = static_cast<int64_t>(Rows().size());
    // Every row comes to its turn.
    const OperatorRow& row = Chance(0.7)
                                 ? *Rows()[(seed_ * 5 + static_cast<uint64_t>(turn_++)) % count]
                                 : *Rows()[Below(count)];
    for (int attempt = 0; attempt < 4; ++attempt) {
      if (TryOperator(row)) return true;
    }
    return false;
  }

  /// What is undone where a statement turns out to be none.
  struct Mark {
    size_t nodes, known, families, names;
  };
  Mark Here() const { return {program_.nodes.size(), known_.size(), families_.size(), names_}; }
  void BackTo(const Mark& mark) {
    program_.nodes.resize(mark.nodes);
    known_.resize(mark.known);
    families_.resize(mark.families);
    names_ = mark.names;
  }

  bool TryOperator(const OperatorRow& row) {
    const Mark mark = Here();
    const auto samples = plan::SamplesOf(row, {.dtype = DTypeFor(row)});
    if (samples.empty()) return false;
    const auto& sample = Pick(samples);
    graph::Operator op;
    op.name = row.qualified();
    std::vector<Known> used;
    for (size_t i = 0; i < sample.size(); ++i) {
      Argument argument =
          ArgumentLike(sample[i].value, SchemaOf(row, sample[i].name, i), row, i == 0, used);
      argument.name = sample[i].name;
      if (!Chance(0.9) && i > 0 && argument.name.empty() && i < row.schema().arguments().size()) {
        // By its name, as all that follow then are.
        for (size_t j = i; j < sample.size(); ++j) {
          if (j > i) {
            argument =
                ArgumentLike(sample[j].value, SchemaOf(row, sample[j].name, j), row, false, used);
          }
          argument.name =
              sample[j].name.empty() ? row.schema().arguments()[j].name() : sample[j].name;
          op.arguments.push_back(std::move(argument));
        }
        break;
      }
      op.arguments.push_back(std::move(argument));
    }
    int when = plan::kStart;
    for (const Known& known : used) when = std::max(when, WhenOf(known));
    std::optional<Known> changed;
    if (row.in_place()) {
      if (used.empty()) return BackTo(mark), false;
      changed = used[0];
      // Most of the time; what is refused is a case, too.
      if (!MayChange(*changed, when) && !Chance(0.02)) return BackTo(mark), false;
    }
    c10::IValue result;
    try {
      const auto value = [&](NodeId id) {
        for (const Known& known : used) {
          if (known.id == id) {
            return ForTensors(known.sample,
                              [](const at::Tensor& tensor) { return tensor.clone(); });
          }
        }
        return c10::IValue();
      };
      std::vector<GivenArgument> given = FillArguments(op.arguments, value);
      if (changed && given[0].value.isTensor() &&
          given[0].value.toTensor().sizes() != changed->sample.toTensor().sizes()) {
        return BackTo(mark), false;
      }
      result = CallOperator(op.name, given);
    } catch (const std::exception&) {
      return BackTo(mark), false;
    }
    if (!IsSmall(result)) return BackTo(mark), false;
    const NodeId id = Add(std::move(op), true);
    if (row.random) {
      Add(graph::Save{.name = absl::StrCat("drawn_", program_.at(id).name), .value = id});
    }
    if (changed) {
      Family& family = families_[changed->families[0]];
      family.when = std::max(family.when, when);
      Learn(id, changed->sample, changed->families, changed->overlapping);
    } else if (row.makes == plan::Makes::kView || row.makes == plan::Makes::kOverlappingView) {
      // Of the arguments but the first the value depends as well.
      Family& family = families_[used[0].families[0]];
      family.when = std::max(family.when, when);
      Learn(id, result, used[0].families,
            used[0].overlapping || row.makes == plan::Makes::kOverlappingView);
    } else {
      Learn(id, result, {NewFamily(when)});
      families_.back().maybe = row.makes == plan::Makes::kMaybeView;
    }
    return true;
  }

  static bool IsSmall(const c10::IValue& value) {
    constexpr int64_t kMostElements = 4096;
    int64_t elements = 0;
    ForTensors(value, [&](const at::Tensor& tensor) {
      elements += tensor.numel();
      return tensor;
    });
    return elements <= kMostElements && !value.isNone();
  }

  // --- indexing
  // -----------------------------------------------------------------------------------

  std::vector<IndexTerm> BasicTerms(const at::Tensor& tensor) {
    std::vector<IndexTerm> terms;
    for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
      const int64_t size = tensor.size(dim);
      switch (Below(6)) {
        case 0:
          if (size > 0) {
            terms.push_back(Below(2 * size) - size);
            break;
          }
          [[fallthrough]];
        case 1:
        case 2: {
          graph::Slice slice;
          if (Chance(0.6)) slice.start = Below(2 * size + 1) - size;
          if (Chance(0.6)) slice.stop = Below(2 * size + 2) - size;
          if (Chance(0.3)) slice.step = 1 + Below(2);
          terms.push_back(slice);
          break;
        }
        case 3:
          if (Chance(0.3)) terms.push_back(graph::NewAxis{});
          [[fallthrough]];
        case 4:
          terms.push_back(graph::Slice{});
          break;
        default:
          if (dim == 0 && tensor.dim() > 1) {
            terms.push_back(graph::Ellipsis{});
            dim = tensor.dim() - 2;  // the last one is written
            break;
          }
          return terms.empty() ? std::vector<IndexTerm>{graph::Slice{}} : terms;
      }
    }
    if (terms.empty()) terms.push_back(graph::Ellipsis{});
    return terms;
  }

  /// Also by tensors of indices, or by a mask.
  std::vector<IndexTerm> AdvancedTerms(const at::Tensor& tensor, std::vector<Known>& used) {
    std::vector<IndexTerm> terms;
    for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
      if (tensor.size(dim) > 0 && Chance(0.5)) {
        used.push_back(Constant(at::randint(-tensor.size(dim), tensor.size(dim), {2}, at::kLong)));
        terms.push_back(NodeRef{used.back().id});
      } else if (tensor.size(dim) > 0 && Chance(0.3)) {
        terms.push_back(Below(tensor.size(dim)));
      } else {
        terms.push_back(graph::Slice{});
      }
    }
    if (used.empty()) {
      used.push_back(Constant(at::randint(0, tensor.size(0), {3}, at::kLong)));
      terms[0] = NodeRef{used.back().id};
    }
    return terms;
  }

  static Indexed TryIndex(const c10::IValue& whole, const std::vector<IndexTerm>& terms,
                          const std::vector<Known>& used) {
    return IndexView(whole, terms, [&](NodeId id) {
      for (const Known& known : used) {
        if (known.id == id) return known.sample.toTensor();
      }
      throw std::logic_error("an index that is not there");
    });
  }

  bool AddIndex() {
    const auto target = Find([](const Known& known) {
      return known.sample.isTensor() ? known.sample.toTensor().dim() > 0
                                     : known.sample.isTuple() || known.sample.isGenericDict() ||
                                           (known.sample.isList() && !known.sample.isIntList());
    });
    if (!target) return false;
    const Mark mark = Here();
    std::vector<IndexTerm> terms;
    c10::IValue part = target->sample;
    if (!part.isTensor()) {
      if (part.isGenericDict()) {
        std::vector<std::string> keys;
        for (const auto& entry : part.toGenericDict()) keys.push_back(entry.key().toStringRef());
        if (keys.empty()) return false;
        terms.push_back(Pick(keys));
      } else {
        const auto size = static_cast<int64_t>(part.isTuple() ? part.toTupleRef().elements().size()
                                                              : part.toListRef().size());
        if (size == 0) return false;
        terms.push_back(Below(2 * size) - size);
      }
      part = TryIndex(part, terms, {}).view;
      if (part.isNone()) return false;
    }
    std::vector<Known> used;
    if (part.isTensor() && part.toTensor().dim() > 0 && (terms.empty() || Chance(0.5))) {
      const bool advanced = part.toTensor().numel() > 0 && Chance(0.25);
      const auto more =
          advanced ? AdvancedTerms(part.toTensor(), used) : BasicTerms(part.toTensor());
      terms.insert(terms.end(), more.begin(), more.end());
    }
    c10::IValue result;
    try {
      const Indexed found = TryIndex(target->sample, terms, used);
      result = found.indices.empty() ? found.view
                                     : c10::IValue(at::index(found.view.toTensor(), found.indices));
    } catch (const std::exception&) {
      return BackTo(mark), false;
    }
    const bool fresh = !used.empty();
    const int when = WhenOf(*target);
    const NodeId id = Add(graph::Index{target->id, terms}, true);
    if (fresh) {
      Learn(id, result, {NewFamily(when)});
    } else {
      Learn(id, result, target->families, target->overlapping);
    }
    return true;
  }

  bool AddAssign() {
    const auto target = Find([&](const Known& known) {
      return known.sample.isTensor() && known.sample.toTensor().dim() > 0 &&
             known.sample.toTensor().numel() > 0 && (MayChange(known, guard_when_) || Chance(0.01));
    });
    if (!target) return false;
    const Mark mark = Here();
    const at::Tensor tensor = target->sample.toTensor();
    const int site = families_[target->families[0]].site;
    std::vector<Known> used;
    std::vector<IndexTerm> terms;
    std::optional<Known> value;
    const int latest = site < 0 ? kLast : site;
    try {
      if (Chance(0.15)) {
        std::vector<int64_t> shape = tensor.sizes().slice(0, 1 + Below(tensor.dim())).vec();
        used.push_back(Constant(at::rand(shape).gt(0.5)));
        terms.push_back(NodeRef{used.back().id});
        value = Floats({}, latest);
      } else {
        terms = Chance(0.25) ? AdvancedTerms(tensor, used) : BasicTerms(tensor);
        const Indexed found = TryIndex(target->sample, terms, used);
        const at::Tensor part = found.indices.empty()
                                    ? found.view.toTensor()
                                    : at::index(found.view.toTensor(), found.indices);
        value = ValueFor(part.sizes().vec(), latest);
      }
      const at::Tensor copy = tensor.clone();
      AssignTo(TryIndex(copy, terms, used), value->sample.toTensor());
    } catch (const std::exception&) {
      return BackTo(mark), false;
    }
    Family& family = families_[target->families[0]];
    family.when = std::max(family.when, WhenOf(*value));
    Add(graph::Assign{target->id, terms, value->id});
    return true;
  }

  /// What broadcasts to a shape.
  Known ValueFor(std::vector<int64_t> shape, int latest) {
    if (Chance(0.3)) shape = {};
    if (!shape.empty() && Chance(0.2)) shape.erase(shape.begin());
    return Floats(shape, latest);
  }

  // --- sites
  // --------------------------------------------------------------------------------------

  plan::RowCount RowsHere() const { return rows_; }

  static bool IsOffered(const plan::SiteSpec& site) {
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
  // -----------------------------------------------------------------------------------

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

  static constexpr int kLast = 1 << 20;

  const uint64_t seed_;
  std::mt19937_64 random_;
  const plan::ModelSpec& spec_;
  graph::Program program_;
  std::vector<Known> known_;
  std::vector<Family> families_;
  size_t names_ = 0;
  int saves_ = 0, turn_ = 0;
  NodeId parent_ = graph::kNoNode, invoke_ = graph::kNoNode, sweep_ = graph::kNoNode;
  plan::RowCount rows_;
  bool all_rows_ = false;
  int guard_when_ = plan::kStart;
};

}  // namespace

graph::Program MakeProgram(uint64_t seed, const plan::ModelSpec& spec) {
  const c10::InferenceMode guard;
  return Generator(seed, spec).Make();
}

}  // namespace weft::reference
