#pragma once

#include <ATen/ATen.h>

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/reference/indexing.h"
#include "tests/reference/interpreter.h"
#include "tests/reference/naming.h"
#include "tests/reference/positions.h"

namespace weft::reference {

/// What names mean at a place: made, then changed by the statements written before that place.
///
/// In real memory, unless the program goes backwards. There a name has one tensor for each version,
/// however often it is looked at, so that its gradient is one, and a change makes the next version
/// out of place.
class Values : protected Naming {
 protected:
  Values(const graph::Program& program, const PlainModel& model, NodeId sweep, size_t point)
      : Naming(program, model, sweep, point) {
    for (const graph::Node& node : program.nodes) {
      backwards_ |= std::holds_alternative<graph::Backward>(node.kind);
    }
  }
  virtual ~Values() = default;

  /// The value of a name when it is made.
  virtual c10::IValue Fresh(NodeId n) = 0;
  /// What the run drew for a random operator.
  virtual const at::Tensor& Drawn(NodeId n) const = 0;
  /// Whether the branches around a statement are taken.
  virtual bool IsActive(NodeId n) = 0;
  /// Whether the gradient of a root's version is asked for: after `change`, kNoNode for the first.
  virtual bool IsAsked(NodeId root, NodeId change) = 0;

  /// While it lives, what is looked at is of that step.
  class InStep {
   public:
    InStep(Values& values, int64_t step)
        : values_(values), outside_(std::exchange(values.step_, step)) {}
    ~InStep() { values_.step_ = outside_; }
    InStep(const InStep&) = delete;
    InStep& operator=(const InStep&) = delete;

   private:
    Values& values_;
    const int64_t outside_;
  };
  int64_t StepOf(NodeId name) const { return program_.StepsOf(name) == graph::kNoNode ? 0 : step_; }

  /// What `name` means to the statement `at`: a value of its own, which shares nothing.
  c10::IValue Value(NodeId name, NodeId at) {
    const InStep step(*this, StepOf(name));
    const auto& kind = program_.at(name).kind;
    if (const auto* structure = std::get_if<graph::Structure>(&kind)) {
      return MakeStructure(*structure, at);
    }
    const NodeId root = RootOf(name);
    if (root != name && std::holds_alternative<graph::Structure>(program_.at(root).kind)) {
      return Value(root, at);  // another name of it
    }
    if (!backwards_) {
      return ForTensors(Memory(name, at).at(name),
                        [](const at::Tensor& tensor) { return tensor.clone(); });
    }
    const c10::IValue& version = VersionAt(root, std::max(at, name + 1));
    if (name == root) return version;
    const c10::IValue part = Gather(version, PositionsOf(name));
    if (!IsDetached(name)) return part;
    return ForTensors(part, [](const at::Tensor& tensor) { return tensor.detach(); });
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

  Indexed Find(const c10::IValue& whole, const std::vector<graph::IndexTerm>& terms, NodeId n) {
    return IndexView(whole, terms, [&](NodeId id) { return Value(id, n).toTensor(); });
  }
  c10::IValue Index(const c10::IValue& whole, const std::vector<graph::IndexTerm>& terms,
                    NodeId n) {
    return Find(whole, terms, n).view;
  }
  void Assign(const c10::IValue& whole, const std::vector<graph::IndexTerm>& terms, NodeId value,
              NodeId n) {
    const Indexed found = Find(whole, terms, n);
    AssignTo(found, Value(value, n).toTensor());
  }

  // --- versions of their own, where the program goes backwards ---

  bool backwards() const { return backwards_; }

  c10::IValue PositionsOf(NodeId name) {
    const auto key = std::pair(name, step_);
    if (const auto found = positions_.find(key); found != positions_.end()) return found->second;
    const NodeId root = RootOf(name);
    const c10::IValue& version = VersionAfter(root, graph::kNoNode);
    if (name != root && version.isTensor() && version.toTensor().is_complex()) {
      throw Unsupported("a part of complex numbers, where gradients are");
    }
    const c10::IValue whole = PositionsIn(version);
    return positions_[key] = CutAlike(name, root, whole);
  }
  at::Tensor PositionsAt(const c10::IValue& positions, const std::vector<graph::IndexTerm>& terms,
                         NodeId n) {
    const Indexed found = Find(positions, terms, n);
    return found.indices.empty() ? found.view.toTensor()
                                 : at::index(found.view.toTensor(), found.indices);
  }

  const c10::IValue& VersionAt(NodeId root, NodeId at) {
    const std::vector<NodeId> changes = ChangesOf(root, at);
    return VersionAfter(root, changes.empty() ? graph::kNoNode : changes.back());
  }
  const c10::IValue& VersionAfter(NodeId root, NodeId change) {
    const InStep step(*this, StepOf(root));
    const auto key = std::tuple(root, change, step_);
    if (const auto found = versions_.find(key); found != versions_.end()) return found->second;
    c10::IValue version;
    if (change == graph::kNoNode) {
      version = Fresh(root);
      if (!std::holds_alternative<graph::Read>(program_.at(root).kind)) {
        // It may be another value's tensor, and has a gradient of its own all the same.
        version = ForTensors(version, [](const at::Tensor& tensor) {
          return tensor.requires_grad() ? tensor.view_as(tensor) : tensor;
        });
      }
    } else {
      const c10::IValue before = VersionAt(root, change);
      version = IsActive(change) ? ChangedBy(change, before) : before;
    }
    if (IsAsked(root, change)) version = ForTensors(version, Leaf);
    return versions_[key] = std::move(version);
  }

  /// A tensor whose gradient can be asked for.
  static at::Tensor Leaf(const at::Tensor& tensor) {
    if (!tensor.is_floating_point() && !tensor.is_complex()) return tensor;
    if (tensor.requires_grad()) return tensor;
    const at::Tensor leaf = tensor.detach().requires_grad_();
    return leaf.view_as(leaf);
  }

  int64_t step_ = 0;

 private:
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

  /// The memory that a name lies in, and those names in it that matter, after all changes that are
  /// written before `at`.
  using Names = std::map<NodeId, c10::IValue>;
  const Names& Memory(NodeId name, NodeId at) {
    const auto key = std::tuple(name, at, step_);
    if (const auto found = memory_.find(key); found != memory_.end()) return found->second;
    const NodeId root = RootOf(name);
    std::set<NodeId> wanted;
    AddWay(name, wanted);
    std::vector<NodeId> changes;
    for (const NodeId n : ChangesOf(root, at)) {
      if (!IsActive(n)) continue;
      AddWay(Changed(n)->id, wanted);
      changes.push_back(n);
    }
    Names names;
    {
      const InStep step(*this, StepOf(root));
      names[root] =
          ForTensors(Fresh(root), [](const at::Tensor& tensor) { return tensor.clone(); });
    }
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

  /// Call an operator whose first argument lies in this very memory.
  c10::IValue CallOn(const c10::IValue& first, const graph::Operator& op, NodeId n) {
    if (IsRandom(op.name)) return first.toTensor().copy_(Drawn(n));
    std::vector<GivenArgument> arguments =
        FillArguments(Filled(op.arguments), [&](NodeId id) { return Value(id, n); });
    arguments[0].value = first;
    return CallOperator(op.name, arguments);
  }

  /// The version of a root after a statement, given the one before.
  c10::IValue ChangedBy(NodeId n, const c10::IValue& before) {
    const Base changed = *Changed(n);
    const c10::IValue positions = PositionsOf(changed.id);
    if (const auto* assign = std::get_if<graph::Assign>(&program_.at(n).kind)) {
      const at::Tensor value = Value(assign->value, n).toTensor();
      // As into real memory: what does not fit throws.
      AssignTo(Find(ForTensors(Gather(before, positions),
                               [](const at::Tensor& part) { return part.detach().clone(); }),
                    changed.terms, n),
               value.detach());
      return Scatter(before, PositionsAt(positions, changed.terms, n), value);
    }
    const c10::IValue part = Gather(before, positions).toTensor().clone();
    const auto& op = std::get<graph::Operator>(program_.at(n).kind);
    at::Tensor after = CallOn(part, op, n).toTensor();
    // Torch lets gradients through where it has no derivative of an operator in place.
    if (op.name.rfind("aten::logical_", 0) == 0) after = after.detach();
    return Scatter(before, positions.toTensor(), after);
  }

  bool IsDetached(NodeId name) {
    for (auto base = BaseOf(name); base; name = base->id, base = BaseOf(name)) {
      const auto* op = std::get_if<graph::Operator>(&program_.at(name).kind);
      if (op != nullptr && op->name.rfind("aten::detach", 0) == 0) return true;
    }
    return false;
  }

  bool backwards_ = false;
  std::map<std::tuple<NodeId, NodeId, int64_t>, Names> memory_;
  std::map<std::tuple<NodeId, NodeId, int64_t>, c10::IValue> versions_;
  std::map<std::pair<NodeId, int64_t>, c10::IValue> positions_;
};

}  // namespace weft::reference
