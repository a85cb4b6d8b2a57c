#include "tests/reference/interpreter.h"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/reference/call.h"
#include "tests/reference/indexing.h"
#include "tests/reference/reading.h"
#include "tests/reference/tiny_model.h"

namespace weft::reference {
namespace {

using graph::NodeId;
using graph::Point;

at::Tensor CloneOf(const at::Tensor& tensor) { return tensor.clone(); }

at::Tensor LeafOf(const c10::IValue& value) {
  if (value.isTensor()) return value.toTensor();
  Saved leaves;
  AddLeaves("", value, leaves);
  if (leaves.empty()) throw std::invalid_argument("a value without a tensor");
  return leaves.begin()->second;
}

/// One reading of a program: outside of its sweeps, or of one point of one of them.
class Interpreter : private Reading {
 public:
  Interpreter(const graph::Program& program, const Saved& drawn, NodeId sweep, size_t point)
      : Reading(program, sweep, point), drawn_(drawn) {}

  void AddSaves(Saved& out) {
    for (NodeId n = 1; n <= Count(); ++n) {
      if (program_.SweepOf(n) != sweep_) continue;
      const auto& kind = program_.at(n).kind;
      if (const auto* save = std::get_if<graph::Save>(&kind); save != nullptr && IsActive(n)) {
        AddLeaves(absl::StrCat(save->name, Suffix()), ToDType(Value(save->value, n), save->dtype),
                  out);
      }
      if (const auto* cache = std::get_if<graph::Cache>(&kind); cache != nullptr && IsActive(n)) {
        AddCache(*cache, program_.InvokeOf(n), out);
      }
      if (const auto* log = std::get_if<graph::Log>(&kind); log != nullptr && IsActive(n)) {
        Value(log->value, n);
      }
    }
  }

  void LookAtAll() {
    for (NodeId n = 1; n <= Count(); ++n) {
      if (program_.SweepOf(n) != sweep_ || !IsActive(n)) continue;
      const auto& kind = program_.at(n).kind;
      if (graph::YieldsValue(program_.at(n))) Value(n, n + 1);
      if (const auto* write = std::get_if<graph::Write>(&kind)) Value(write->value, n);
      if (const auto* skip = std::get_if<graph::Skip>(&kind)) Value(skip->value, n);
      if (const auto* assign = std::get_if<graph::Assign>(&kind)) Value(assign->target, n + 1);
      if (const auto* invoke = std::get_if<graph::Invoke>(&kind)) {
        const bool all = std::holds_alternative<graph::Invoke::AllRows>(invoke->input);
        if (!all) SiteLeaf(".output", Count() + 1, n);
      }
    }
  }

 private:
  /// Whether the branches around a statement are taken.
  bool IsActive(NodeId n) {
    for (NodeId at = program_.at(n).parent; at != graph::kNoNode; at = program_.at(at).parent) {
      const auto* branch = std::get_if<graph::Branch>(&program_.at(at).kind);
      if (branch != nullptr && Holds(program_.at(at).parent) == branch->otherwise) return false;
    }
    return true;
  }
  bool Holds(NodeId choice) {
    const NodeId condition = std::get<graph::If>(program_.at(choice).kind).condition;
    const c10::IValue value = Value(condition, choice);
    return value.isBool() ? value.toBool() : value.toTensor().item().toBool();
  }

  // --- names ------------------------------------------------------------------------------------

  /// What a name is cut from, and by which index; by none, it is the same value.
  struct Base {
    NodeId id;
    std::vector<graph::IndexTerm> terms;
  };

  /// Integers and keys that lead through structures that the program made.
  Base Walk(NodeId target, std::vector<graph::IndexTerm> terms) {
    while (true) {
      const NodeId made = Same(target);
      const auto* structure = std::get_if<graph::Structure>(&program_.at(made).kind);
      if (structure == nullptr || terms.empty()) return {target, terms};
      const auto* key = std::get_if<std::string>(&terms[0]);
      const auto* index = std::get_if<int64_t>(&terms[0]);
      if (key == nullptr && index == nullptr) return {target, terms};
      const auto count = static_cast<int64_t>(structure->items.size());
      int64_t at = index == nullptr ? 0 : *index < 0 ? *index + count : *index;
      if (key != nullptr) {
        while (at < count && structure->items[at].name != *key) ++at;
      }
      if (at < 0 || at >= count) throw std::invalid_argument("no such item");
      target = std::get<graph::NodeRef>(structure->items[at].value).id;
      terms.erase(terms.begin());
    }
  }
  /// The value that a name is another name of.
  NodeId Same(NodeId n) {
    for (auto base = BaseOf(n); base && base->terms.empty() && !MakesView(n); base = BaseOf(n)) {
      n = base->id;
    }
    return n;
  }
  bool MakesView(NodeId n) const {
    const auto* op = std::get_if<graph::Operator>(&program_.at(n).kind);
    return op != nullptr && !IsInPlace(op->name);
  }

  /// The name whose memory `n` shares, if there is one.
  std::optional<Base> BaseOf(NodeId n) {
    const auto& kind = program_.at(n).kind;
    if (const auto* op = std::get_if<graph::Operator>(&kind)) {
      if (!IsInPlace(op->name) && !IsView(op->name)) return std::nullopt;
      return Base{std::get<graph::NodeRef>(Filled(op->arguments)[0].value).id, {}};
    }
    if (const auto* index = std::get_if<graph::Index>(&kind)) {
      Base base = Walk(index->target, Filled(index->terms));
      if (HasTensors(base.terms)) return std::nullopt;
      return base;
    }
    return std::nullopt;
  }
  NodeId RootOf(NodeId n) {
    for (auto base = BaseOf(n); base; base = BaseOf(n)) n = base->id;
    return n;
  }

  /// What `name` means to the statement `at`: a value of its own, which shares nothing.
  c10::IValue Value(NodeId name, NodeId at) {
    const auto& kind = program_.at(name).kind;
    if (const auto* structure = std::get_if<graph::Structure>(&kind)) {
      return MakeStructure(*structure, at);
    }
    const NodeId root = RootOf(name);
    if (root != name && std::holds_alternative<graph::Structure>(program_.at(root).kind)) {
      return Value(root, at);  // another name of it
    }
    return ForTensors(Memory(name, at).at(name), CloneOf);
  }

  c10::IValue MakeStructure(const graph::Structure& structure, NodeId at) {
    std::vector<c10::IValue> items;
    c10::impl::GenericDict dict(c10::StringType::get(), c10::AnyType::get());
    c10::impl::GenericList list(c10::AnyType::get());
    for (const graph::Argument& item : structure.items) {
      c10::IValue value = Value(std::get<graph::NodeRef>(item.value).id, at);
      if (structure.kind == graph::Structure::Kind::kDict) dict.insert(item.name, value);
      list.push_back(value);
      items.push_back(std::move(value));
    }
    if (structure.kind == graph::Structure::Kind::kDict) return dict;
    if (structure.kind == graph::Structure::Kind::kList) return list;
    return c10::ivalue::Tuple::create(std::move(items));
  }

  /// The names on the way from a name to the root of its memory, both included.
  void AddWay(NodeId name, std::set<NodeId>& names) {
    names.insert(name);
    for (auto base = BaseOf(name); base; base = BaseOf(base->id)) names.insert(base->id);
  }

  /// The value that a statement changes in place, and where in it.
  std::optional<Base> Changed(NodeId n) {
    const auto& kind = program_.at(n).kind;
    if (const auto* assign = std::get_if<graph::Assign>(&kind)) {
      return Walk(assign->target, Filled(assign->index));
    }
    const auto* op = std::get_if<graph::Operator>(&kind);
    if (op == nullptr || !IsInPlace(op->name)) return std::nullopt;
    return BaseOf(n);
  }

  /// The memory that a name lies in, and those names in it that matter, after all changes that are
  /// written before `at`.
  using Names = std::map<NodeId, c10::IValue>;
  const Names& Memory(NodeId name, NodeId at) {
    const auto key = std::pair(name, at);
    if (const auto found = memory_.find(key); found != memory_.end()) return found->second;
    const NodeId root = RootOf(name);
    std::set<NodeId> wanted;
    AddWay(name, wanted);
    std::vector<NodeId> changes;
    for (NodeId n = root + 1; n < at; ++n) {
      const auto changed = IsSeen(n) ? Changed(n) : std::nullopt;
      if (!changed || RootOf(changed->id) != root || !IsActive(n)) continue;
      AddWay(changed->id, wanted);
      changes.push_back(n);
    }
    Names names;
    names[root] = ForTensors(Fresh(root), CloneOf);
    size_t next = 0;
    for (NodeId n = root + 1; n < std::max(at, name + 1); ++n) {
      if (next < changes.size() && changes[next] == n) {
        ++next;
        const Base changed = *Changed(n);
        const c10::IValue whole = names.at(changed.id);
        if (const auto* assign = std::get_if<graph::Assign>(&program_.at(n).kind)) {
          Assign(whole, changed.terms, assign->value, n);
        } else {
          CallOn(whole, std::get<graph::Operator>(program_.at(n).kind), n);
        }
      }
      if (wanted.count(n) == 0) continue;
      const Base base = *BaseOf(n);
      const c10::IValue whole = names.at(base.id);
      const auto* op = std::get_if<graph::Operator>(&program_.at(n).kind);
      names[n] = op == nullptr         ? Index(whole, base.terms, n)
                 : IsInPlace(op->name) ? whole
                                       : CallOn(whole, *op, n);
    }
    return memory_[key] = std::move(names);
  }

  /// What the run drew.
  const at::Tensor& Drawn(NodeId n) const {
    const auto found = drawn_.find(absl::StrCat("drawn_", program_.at(n).name, Suffix()));
    if (found == drawn_.end()) throw Unsupported("a random value that was not saved");
    return found->second;
  }

  /// Call an operator whose first argument lies in this very memory.
  c10::IValue CallOn(const c10::IValue& first, const graph::Operator& op, NodeId n) {
    if (IsRandom(op.name)) return first.toTensor().copy_(Drawn(n));
    std::vector<GivenArgument> arguments =
        FillArguments(Filled(op.arguments), [&](NodeId id) { return Value(id, n); });
    arguments[0].value = first;
    return CallOperator(op.name, arguments);
  }

  c10::IValue Index(const c10::IValue& whole, const std::vector<graph::IndexTerm>& terms,
                    NodeId n) {
    return IndexView(whole, terms, [&](NodeId id) { return Value(id, n).toTensor(); }).view;
  }

  void Assign(const c10::IValue& whole, const std::vector<graph::IndexTerm>& terms, NodeId value,
              NodeId n) {
    const Indexed found =
        IndexView(whole, terms, [&](NodeId id) { return Value(id, n).toTensor(); });
    AssignTo(found, Value(value, n).toTensor());
  }

  /// The value of a name when it is made.
  c10::IValue Fresh(NodeId n) {
    const graph::Node& node = program_.at(n);
    if (const auto* constant = std::get_if<graph::Constant>(&node.kind)) {
      return ToTensor(constant->tensor);
    }
    if (const auto* parameter = std::get_if<graph::Parameter>(&node.kind)) {
      return Weights().at(parameter->path);
    }
    if (const auto* read = std::get_if<graph::Read>(&node.kind)) return Read(read->site, n);
    if (const auto* op = std::get_if<graph::Operator>(&node.kind)) {
      if (IsRandom(op->name)) return Drawn(n);
      return CallOperator(
          op->name, FillArguments(Filled(op->arguments), [&](NodeId id) { return Value(id, n); }));
    }
    if (const auto* index = std::get_if<graph::Index>(&node.kind)) {
      const Base base = Walk(index->target, Filled(index->terms));
      const Indexed found = IndexView(Value(base.id, n), base.terms,
                                      [&](NodeId id) { return Value(id, n).toTensor(); });
      return at::index(found.view.toTensor(), found.indices);
    }
    if (const auto* call = std::get_if<graph::Call>(&node.kind)) {
      const NodeId given = std::get<graph::NodeRef>(Filled(call->arguments)[0].value).id;
      const at::Tensor input = Value(given, n).toTensor();
      if (!input.is_floating_point()) CheckIds(input, n);
      return InFormOf(call->module, PlainModule(call->module, input));
    }
    if (const auto* result = std::get_if<graph::RegionResult>(&node.kind)) {
      const bool holds = Holds(result->region);
      for (NodeId at = result->region + 1; at < n; ++at) {
        const auto* yield = std::get_if<graph::Yield>(&program_.at(at).kind);
        if (yield == nullptr) continue;
        const graph::Node& branch = program_.at(program_.at(at).parent);
        if (branch.parent != result->region) continue;
        if (std::get<graph::Branch>(branch.kind).otherwise == holds) continue;
        return Value(yield->values[result->index], at);
      }
    }
    throw Refused(n, "a statement without a meaning here");
  }

  // --- sites ------------------------------------------------------------------------------------

  c10::IValue Read(const graph::Site& site, NodeId n) {
    const NodeId invoke = program_.InvokeOf(n);
    const bool all = IsAllRows(invoke);
    if (site.point == Point::kRows) return Rows(invoke);
    if (graph::OfInvoke(site.point) && site.point != Point::kResult) {
      const auto pick = [&](NodeId of) {
        const Prompts prompts = PromptsOf(of);
        return site.point == Point::kIds    ? prompts.ids
               : site.point == Point::kMask ? prompts.mask
                                            : prompts.positions;
      };
      return all ? Together(invoke, pick) : pick(invoke);
    }
    const Place place = PlaceOf(site);
    const auto leaf = [&](NodeId of) { return SiteLeaf(place.site, n, of); };
    return Shown(place, all ? Together(invoke, leaf) : leaf(invoke));
  }

  /// For each row, which of the invokes it belongs to.
  at::Tensor Rows(NodeId invoke) {
    std::vector<at::Tensor> rows;
    for (const NodeId of : IsAllRows(invoke) ? InvokesBeside(invoke) : std::vector{invoke}) {
      rows.push_back(at::full({PromptsOf(of).ids.size(0)}, PlaceAmongInvokes(of), at::kLong));
    }
    return at::cat(rows);
  }

  /// What is at a site for the rows of one invoke, as a statement sees it that is written at `at`.
  at::Tensor SiteLeaf(const std::string& site, NodeId at, NodeId invoke) {
    const auto key = std::tuple(site, at, invoke);
    if (const auto found = sites_.find(key); found != sites_.end()) return found->second;
    if (!looking_.insert(key).second) {
      throw Refused(at, "a value that is needed before it is there");
    }
    Looking looking(*this, site, at, invoke);
    try {
      PlainForward(PromptsOf(invoke).ids.clone(), looking);
    } catch (const Found&) {
    } catch (...) {
      looking_.erase(key);
      throw;
    }
    looking_.erase(key);
    if (!looking.value.defined()) throw Refused(at, "the site " + site + " is not visited");
    return sites_[key] = looking.value;
  }

  struct Found {};
  /// A forward as far as one site.
  struct Looking : Onlooker {
    Looking(Interpreter& of, std::string site, NodeId at, NodeId invoke)
        : of(of), site(std::move(site)), at(at), invoke(invoke) {}
    void Visit(const std::string& here, at::Tensor& there) override {
      const bool last = here == site;
      there = of.AfterWrites(here, there, last ? at : of.Count() + 1, invoke);
      if (!last) return;
      value = there;
      throw Found();
    }
    std::optional<at::Tensor> Skip(const std::string& call) override {
      return of.Skipped(call, invoke);
    }
    Interpreter& of;
    const std::string site;
    const NodeId at, invoke;
    at::Tensor value;
  };

  /// What a statement changes at a site: the site, and a change of what is there.
  struct SiteChange {
    Place place;
    std::function<void(const c10::IValue& whole)> change;
  };

  /// All of them, in written order.
  const std::vector<std::pair<NodeId, SiteChange>>& Changes() {
    if (changes_) return *changes_;
    changes_.emplace();
    for (NodeId n = 1; n <= Count(); ++n) {
      if (program_.InvokeOf(n) == graph::kNoNode || !IsSeen(n)) continue;
      if (auto change = ChangeBy(n)) changes_->emplace_back(n, *std::move(change));
    }
    return *changes_;
  }

  std::optional<SiteChange> ChangeBy(NodeId n) {
    const auto& kind = program_.at(n).kind;
    if (const auto* write = std::get_if<graph::Write>(&kind)) {
      Place place = PlaceOf(write->site);
      return SiteChange{place, [=, this](const c10::IValue& whole) {
                          if (write->index.empty()) {
                            Replace(whole, Value(write->value, n), n);
                          } else {
                            Assign(whole, Filled(write->index), write->value, n);
                          }
                        }};
    }
    const auto changed = Changed(n);
    if (!changed) return std::nullopt;
    const NodeId target = changed->id;
    // Of an assignment only its place is written; an operator has none.
    const bool assigns = std::holds_alternative<graph::Assign>(kind);
    const auto terms = assigns ? changed->terms : std::vector<graph::IndexTerm>();
    const NodeId root = RootOf(target);
    const auto* read = std::get_if<graph::Read>(&program_.at(root).kind);
    if (read == nullptr ||
        (graph::OfInvoke(read->site.point) && read->site.point != Point::kResult)) {
      return std::nullopt;
    }
    return SiteChange{PlaceOf(read->site), [=, this](const c10::IValue& whole) {
                        const auto ids = [&](NodeId id) { return Value(id, n).toTensor(); };
                        const c10::IValue part = CutAlike(target, root, whole);
                        const at::Tensor from =
                            IndexView(Value(target, n + 1), terms, ids).view.toTensor();
                        IndexView(part, terms, ids).view.toTensor().copy_(from);
                      }};
  }

  /// The part of `whole` that `name` is of its root.
  c10::IValue CutAlike(NodeId name, NodeId root, const c10::IValue& whole) {
    if (name == root) return whole;
    const Base base = *BaseOf(name);
    const c10::IValue from = CutAlike(base.id, root, whole);
    const auto* op = std::get_if<graph::Operator>(&program_.at(name).kind);
    if (op == nullptr) return Index(from, base.terms, name);
    return IsInPlace(op->name) ? from : CallOn(from, *op, name);
  }

  void Replace(const c10::IValue& whole, const c10::IValue& value, NodeId n) {
    const at::Tensor there = LeafOf(whole), given = LeafOf(value);
    if (there.sizes() != given.sizes()) throw Refused(n, "a replacement of another shape");
    if (there.is_floating_point() != given.is_floating_point() ||
        (!there.is_floating_point() && there.scalar_type() != given.scalar_type())) {
      throw Refused(n, "a replacement of another dtype");
    }
    there.copy_(given);
  }

  static void CheckIds(const at::Tensor& ids, NodeId n) {
    if (ids.numel() == 0) return;
    if (ids.min().item<int64_t>() < 0 || ids.max().item<int64_t>() >= kVocabulary) {
      throw Refused(n, "a token that there is not");
    }
  }

  /// A site's rows once the statements written before `at` have changed them.
  at::Tensor AfterWrites(const std::string& site, const at::Tensor& before, NodeId at,
                         NodeId invoke) {
    at::Tensor value = before;
    for (const auto& [n, change] : Changes()) {
      if (n >= at || change.place.site != site || !Concerns(n, invoke) || !IsActive(n)) continue;
      const NodeId own = program_.InvokeOf(n);
      at::Tensor whole = own == invoke ? value.clone() : Together(own, [&](NodeId other) {
        return other == invoke ? value : SiteLeaf(site, n, other);
      });
      change.change(Shown(change.place, whole));
      value = own == invoke ? whole : RowsOf(whole, own, invoke);
      if (!value.is_floating_point()) CheckIds(value, n);
    }
    return value;
  }

  std::optional<at::Tensor> Skipped(const std::string& call, NodeId invoke) {
    for (NodeId n = 1; n <= Count(); ++n) {
      const auto* skip = std::get_if<graph::Skip>(&program_.at(n).kind);
      if (skip == nullptr || !Concerns(n, invoke)) continue;
      const std::string skipped =
          skip->visit == 0 ? skip->module : absl::StrCat(skip->module, "@", skip->visit);
      if (skipped != call || !IsActive(n)) continue;
      const at::Tensor value = LeafOf(Value(skip->value, n)).to(at::kFloat);
      const NodeId own = program_.InvokeOf(n);
      return own == invoke ? value : RowsOf(value, own, invoke);
    }
    return std::nullopt;
  }

  void AddCache(const graph::Cache& cache, NodeId invoke, Saved& out) {
    const std::set<std::string> wanted(cache.modules.begin(), cache.modules.end());
    for (const graph::Site& site : ModuleSites()) {
      if (!wanted.empty() && wanted.count(site.module) == 0) continue;
      if (site.point == Point::kInput && !cache.include_inputs) continue;
      const Place place = PlaceOf(site);
      const auto leaf = [&](NodeId of) { return SiteLeaf(place.site, Count() + 1, of); };
      const at::Tensor value = IsAllRows(invoke) ? Together(invoke, leaf) : leaf(invoke);
      AddLeaves(absl::StrCat(cache.name, Suffix(), "/", place.site),
                ToDType(Shown(place, value), cache.dtype), out);
    }
  }

  const Saved& drawn_;
  std::map<std::pair<NodeId, NodeId>, Names> memory_;
  std::optional<std::vector<std::pair<NodeId, SiteChange>>> changes_;
  std::map<std::tuple<std::string, NodeId, NodeId>, at::Tensor> sites_;
  std::set<std::tuple<std::string, NodeId, NodeId>> looking_;
};

template <typename Look>
void ForEachReading(const graph::Program& program, const Saved& drawn, const Look& look) {
  const c10::InferenceMode guard;
  Interpreter outside(program, drawn, graph::kNoNode, 0);
  look(outside);
  for (NodeId n = 1; n <= program.nodes.size(); ++n) {
    const auto* sweep = std::get_if<graph::Sweep>(&program.at(n).kind);
    if (sweep == nullptr) continue;
    for (size_t point = 0; point < sweep->parameters[0].size(); ++point) {
      Interpreter inside(program, drawn, n, point);
      look(inside);
    }
  }
}

}  // namespace

void AddLeaves(const std::string& name, const c10::IValue& value, Saved& out) {
  if (value.isTensor()) {
    out[name] = value.toTensor();
  } else if (value.isTuple()) {
    int i = 0;
    for (const c10::IValue& item : value.toTupleRef().elements()) {
      AddLeaves(absl::StrCat(name, "/", i++), item, out);
    }
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      AddLeaves(absl::StrCat(name, "/", entry.key().toStringRef()), entry.value(), out);
    }
  } else if (value.isList()) {
    int i = 0;
    for (const c10::IValue& item : value.toListRef()) {
      AddLeaves(absl::StrCat(name, "/", i++), item, out);
    }
  }
}

Saved Interpret(const graph::Program& program, const Saved& drawn) {
  Saved saved;
  ForEachReading(program, drawn, [&](Interpreter& reading) { reading.AddSaves(saved); });
  return saved;
}

void InterpretAll(const graph::Program& program, const Saved& drawn) {
  ForEachReading(program, drawn, [&](Interpreter& reading) { reading.LookAtAll(); });
}

}  // namespace weft::reference
