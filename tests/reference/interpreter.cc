#include "tests/reference/interpreter.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/graph/uses.h"
#include "tests/reference/call.h"
#include "tests/reference/positions.h"
#include "tests/reference/sites.h"

namespace weft::reference {
namespace {

using graph::NodeId;
using graph::Point;

/// One reading of a program: outside of its sweeps, or of one point of one of them.
class Interpreter : private Sites {
 public:
  Interpreter(const graph::Program& program, const PlainModel& model, const Saved& drawn,
              NodeId sweep, size_t point)
      : Sites(program, model, sweep, point) {
    // Of their own, as what a run saved has no gradients.
    for (const auto& [name, value] : drawn) {
      if (absl::StartsWith(name, "drawn_")) drawn_[name] = value.clone();
    }
    FindAsked();
  }

  void AddSaves(Saved& out) {
    for (NodeId n = 1; n <= Count(); ++n) {
      if (program_.SweepOf(n) != sweep_ || program_.InvokeOf(n) == graph::kNoNode) continue;
      for (const int64_t step : StepsWith(n)) {
        const InStep in(*this, step);
        const auto& kind = program_.at(n).kind;
        const auto* save = std::get_if<graph::Save>(&kind);
        const auto* log = std::get_if<graph::Log>(&kind);
        const auto* cache = std::get_if<graph::Cache>(&kind);
        // Of anything else nobody asks whether its branch is taken.
        if ((save == nullptr && log == nullptr && cache == nullptr) || !IsActive(n)) continue;
        if (save != nullptr) {
          const std::string item =
              program_.StepsOf(n) == graph::kNoNode ? "" : absl::StrCat("/", step);
          AddLeaves(absl::StrCat(save->name, Suffix(), item),
                    ToDType(Value(save->value, n), save->dtype), out);
        }
        if (log != nullptr) Value(log->value, n);
        if (cache != nullptr) AddCache(*cache, n, out);
      }
    }
  }

  void LookAtAll() {
    for (NodeId n = 1; n <= Count(); ++n) {
      if (program_.SweepOf(n) != sweep_ || program_.InvokeOf(n) == graph::kNoNode) continue;
      for (const int64_t step : StepsWith(n)) {
        const InStep in(*this, step);
        if (IsActive(n)) LookAt(n);
      }
    }
  }

  bool in_sweep() const { return sweep_ != graph::kNoNode; }
  bool Sees(NodeId n) const { return IsSeen(n); }
  bool LossReaches(NodeId n) {
    if (std::holds_alternative<graph::Backward>(program_.at(n).kind)) {
      for (NodeId child = n + 1; child <= Count(); ++child) {
        const auto& kind = program_.at(child).kind;
        const bool asks = std::holds_alternative<graph::GradRead>(kind) ||
                          std::holds_alternative<graph::GradWrite>(kind);
        if (asks && program_.at(child).parent == n && LossReaches(child)) return true;
      }
      return false;
    }
    const NodeId backward = program_.at(n).parent;
    const auto* read = std::get_if<graph::GradRead>(&program_.at(n).kind);
    const NodeId value =
        read != nullptr ? read->value : std::get<graph::GradWrite>(program_.at(n).kind).value;
    const at::Tensor gradient = FromLoss(backward, TargetOf(backward, value).tensor, {});
    // What is replaced wholly has zeros here.
    return gradient.defined() && gradient.ne(0).any().item<bool>();
  }

 private:
  void LookAt(NodeId n) {
    const auto& kind = program_.at(n).kind;
    if (graph::YieldsValue(program_.at(n))) Value(n, n + 1);
    if (const auto* write = std::get_if<graph::Write>(&kind)) Value(write->value, n);
    if (const auto* skip = std::get_if<graph::Skip>(&kind)) Value(skip->value, n);
    if (const auto* assign = std::get_if<graph::Assign>(&kind)) Value(assign->target, n + 1);
    if (const auto* write = std::get_if<graph::GradWrite>(&kind)) GradientOf(n, write->value);
    if (std::holds_alternative<graph::Invoke>(kind) && !IsAllRows(n)) {
      for (int64_t step = 0; step < StepCount(n); ++step) {
        const InStep in(*this, step);
        SiteLeaf(".output", Count() + 1, n);
        if (Generates(n)) Chosen(n, step);
      }
    }
  }

  bool IsActive(NodeId n) override {
    for (NodeId at = program_.at(n).parent; at != graph::kNoNode; at = program_.at(at).parent) {
      const bool steps = std::holds_alternative<graph::Steps>(program_.at(at).kind);
      if (steps && Selected(at).empty()) return false;
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

  const at::Tensor& Drawn(NodeId n) const override {
    const std::string item = program_.StepsOf(n) == graph::kNoNode ? "" : absl::StrCat("/", step_);
    const auto found = drawn_.find(absl::StrCat("drawn_", program_.at(n).name, Suffix(), item));
    if (found == drawn_.end()) throw Unsupported("a random value that was not saved");
    return found->second;
  }

  c10::IValue Fresh(NodeId n) override {
    const graph::Node& node = program_.at(n);
    if (const auto* constant = std::get_if<graph::Constant>(&node.kind)) {
      return ToTensor(constant->tensor);
    }
    if (const auto* parameter = std::get_if<graph::Parameter>(&node.kind)) {
      return model_.Weights().at(parameter->path);
    }
    if (const auto* read = std::get_if<graph::Read>(&node.kind)) return Read(read->site, n);
    if (const auto* op = std::get_if<graph::Operator>(&node.kind)) {
      if (IsRandom(op->name)) return Drawn(n);
      const std::vector<GivenArgument> arguments =
          FillArguments(Filled(op->arguments), [&](NodeId id) { return Value(id, n); });
      return CallOperator(op->name, arguments);
    }
    if (const auto* index = std::get_if<graph::Index>(&node.kind)) {
      const Base base = Walk(index->target, Filled(index->terms));
      const Indexed found = Find(Value(base.id, n), base.terms, n);
      return at::index(found.view.toTensor(), found.indices);
    }
    if (const auto* call = std::get_if<graph::Call>(&node.kind)) {
      const NodeId given = std::get<graph::NodeRef>(Filled(call->arguments)[0].value).id;
      const at::Tensor input = Value(given, n).toTensor();
      if (!input.is_floating_point()) CheckIds(input, n);
      return model_.InForm(call->module, model_.Module(call->module, input));
    }
    if (const auto* carry = std::get_if<graph::Carry>(&node.kind)) {
      return CarryBefore(program_.StepsOf(n), carry->index, step_);
    }
    if (const auto* read = std::get_if<graph::GradRead>(&node.kind)) {
      return Gather(GradientOf(n, read->value), LocalPositionsOf(read->value));
    }
    if (const auto* result = std::get_if<graph::RegionResult>(&node.kind)) {
      if (std::holds_alternative<graph::Steps>(program_.at(result->region).kind)) {
        return CarryBefore(result->region, result->index, StepCount(result->region));
      }
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

  /// What a carry has come to in the steps of its region before `step`.
  c10::IValue CarryBefore(NodeId region, uint32_t index, int64_t step) {
    std::optional<int64_t> last;
    for (const int64_t selected : Selected(region)) {
      if (selected < step) last = selected;
    }
    if (!last) {
      const InStep in(*this, 0);
      return Value(std::get<graph::Steps>(program_.at(region).kind).initial[index], region);
    }
    for (NodeId at = region + 1; at <= Count(); ++at) {
      const auto* yield = std::get_if<graph::Yield>(&program_.at(at).kind);
      if (yield == nullptr || program_.at(at).parent != region) continue;
      const InStep in(*this, *last);
      return Value(yield->values[index], at);
    }
    throw Refused(region, "steps that yield nothing");
  }

  // --- gradients

  /// A version whose gradient is asked for: of which root, after which change.
  using Asked = std::pair<NodeId, NodeId>;

  Asked AskedBy(NodeId backward, NodeId value) {
    const NodeId root = RootOf(value);
    const std::vector<NodeId> changes = ChangesOf(root, backward);
    return {root, changes.empty() ? graph::kNoNode : changes.back()};
  }
  void FindAsked() {
    // A gradient that nobody uses is none that anybody goes backwards for.
    std::set<NodeId> used;
    for (NodeId n = 1; n <= Count(); ++n) {
      graph::ForEachUse(program_.at(n), [&](NodeId use) { used.insert(use); });
    }
    for (NodeId n = 1; n <= Count(); ++n) {
      if (!IsSeen(n)) continue;
      const auto* read = std::get_if<graph::GradRead>(&program_.at(n).kind);
      const auto* write = std::get_if<graph::GradWrite>(&program_.at(n).kind);
      if (read != nullptr && used.contains(n)) {
        asked_.insert(AskedBy(program_.at(n).parent, read->value));
      }
      if (write != nullptr) asked_.insert(AskedBy(program_.at(n).parent, write->value));
    }
    // Reads of one visit are one version, as long as nothing is written between them.
    const auto site_of = [&](NodeId n) {
      const auto* read = std::get_if<graph::Read>(&program_.at(n).kind);
      return read != nullptr && IsOfModel(read->site) ? PlaceOf(read->site).site : "";
    };
    const std::set<Asked> asked = asked_;
    for (const auto& [root, change] : asked) {
      if (change != graph::kNoNode || site_of(root).empty()) continue;
      for (NodeId n = 1; n <= Count(); ++n) {
        if (IsSeen(n) && program_.InvokeOf(n) == program_.InvokeOf(root) &&
            site_of(n) == site_of(root)) {
          asked_.insert({n, graph::kNoNode});
        }
      }
    }
  }
  bool IsAsked(NodeId root, NodeId change) override { return asked_.count({root, change}) > 0; }

  /// A tensor with a gradient, and the name that it is asked for by.
  struct Target {
    NodeId root;
    at::Tensor tensor;
  };
  Target TargetOf(NodeId backward, NodeId value) {
    const auto [root, change] = AskedBy(backward, value);
    if (std::holds_alternative<graph::Structure>(program_.at(root).kind)) {
      throw Refused(backward, "the gradient of a structure");
    }
    const auto* read = std::get_if<graph::Read>(&program_.at(root).kind);
    const bool of_invoke = read != nullptr && change == graph::kNoNode && IsOfModel(read->site) &&
                           !IsAllRows(program_.InvokeOf(root));
    const std::vector<at::Tensor> tensors =
        TensorsOf(of_invoke ? PointOf(read->site, root) : VersionAfter(root, change));
    const c10::IValue positions = PositionsOf(value);
    if (!positions.isTensor()) throw Refused(backward, "the gradient of a structure");
    return {root, tensors[tensors.size() == 1 ? 0 : TensorOf(positions.toTensor())]};
  }
  c10::IValue LocalPositionsOf(NodeId value) {
    return PositionsOf(value).toTensor().remainder(int64_t{1} << 32);
  }

  /// The gradient that the statement `at` sees where a value lies: what was written before it, and
  /// whatever goes on from values that the forward makes later.
  at::Tensor GradientOf(NodeId at, NodeId value) {
    const NodeId backward = program_.at(at).parent;
    const Target target = TargetOf(backward, value);
    at::Tensor gradient = BeforeWrites(backward, target, at);
    for (const Change& change : ChangesIn(backward)) {
      const bool same = change.target.tensor.is_same(target.tensor);
      if (same && change.node < at) gradient = Apply(change, gradient);
    }
    return gradient;
  }

  struct Change {
    NodeId node;
    Target target;
  };
  std::vector<Change> ChangesIn(NodeId backward) {
    std::vector<Change> changes;
    for (NodeId n = backward + 1; n <= Count(); ++n) {
      const auto* write = std::get_if<graph::GradWrite>(&program_.at(n).kind);
      if (write == nullptr || program_.at(n).parent != backward) continue;
      changes.push_back({n, TargetOf(backward, write->value)});
    }
    return changes;
  }
  at::Tensor Apply(const Change& change, const at::Tensor& gradient) {
    const auto& write = std::get<graph::GradWrite>(program_.at(change.node).kind);
    const at::Tensor value = Value(write.gradient, change.node).toTensor().detach();
    const at::Tensor positions = LocalPositionsOf(write.value).toTensor();
    if (!at::is_expandable_to(value.sizes(), positions.sizes())) {
      throw Refused(change.node, "a gradient of another shape");
    }
    return Scatter(gradient, positions, value).toTensor();
  }

  /// What comes to a tensor from a region's loss; undefined where that does not depend on it.
  at::Tensor FromLoss(NodeId backward, const at::Tensor& point,
                      const std::vector<GradientChange>& changes) {
    const auto& region = std::get<graph::Backward>(program_.at(backward).kind);
    const at::Tensor loss = Value(region.loss, backward).toTensor();
    at::Tensor start;
    if (region.gradient != graph::kNoNode) start = Value(region.gradient, backward).toTensor();
    if (!loss.requires_grad()) return {};
    return GradientAt(loss, start, point, changes);
  }

  /// The gradient where a target lies, before anything is written to it.
  at::Tensor BeforeWrites(NodeId backward, const Target& target, NodeId at) {
    const auto key = std::pair(backward, target.tensor.unsafeGetTensorImpl());
    if (const auto found = gradients_.find(key); found != gradients_.end()) return found->second;
    if (!going_.insert(key).second) throw Refused(at, "a gradient that depends on itself");
    std::vector<GradientChange> changes;
    try {
      for (const Change& change : ChangesIn(backward)) {
        // Of those alone that the way back comes to before.
        if (change.target.tensor.is_same(target.tensor) ||
            !IsMadeOf(change.target.tensor, target.tensor)) {
          continue;
        }
        // What is written there goes on if rows of another invoke lie in the same tensor.
        if (!FromLoss(backward, change.target.tensor, {}).defined()) {
          throw Unsupported("a gradient that is written where none comes");
        }
        // Once here, as nothing is looked at while autograd goes.
        Value(std::get<graph::GradWrite>(program_.at(change.node).kind).gradient, change.node);
        changes.push_back({change.target.tensor, [=, this](const at::Tensor& gradient) {
                             return Apply(change, gradient);
                           }});
      }
      at::Tensor gradient = FromLoss(backward, target.tensor, changes);
      // The run may say so instead, where it can know: rows of others lie in the same tensors.
      if (!gradient.defined()) gradient = at::zeros_like(target.tensor);
      going_.erase(key);
      return gradients_[key] = gradient;
    } catch (...) {
      going_.erase(key);
      throw;
    }
  }
  // --- what the model goes on with

  void AddCache(const graph::Cache& cache, NodeId n, Saved& out) {
    const NodeId invoke = program_.InvokeOf(n);
    const bool every = program_.StepsOf(n) == graph::kNoNode && Generates(n);
    const std::set<std::string> wanted(cache.modules.begin(), cache.modules.end());
    for (int64_t step = every ? 0 : step_; step <= (every ? StepCount(n) - 1 : step_); ++step) {
      const InStep in(*this, step);
      for (const auto& [module, visits] : model_.Calls()) {
        if (!wanted.empty() && wanted.count(module) == 0) continue;
        for (const Point point : {Point::kInput, Point::kOutput}) {
          if (point == Point::kInput && !cache.include_inputs) continue;
          for (int visit = 0; visit < visits; ++visit) {
            graph::Site site{.module = module, .point = point};
            site.visit = static_cast<uint32_t>(visit);
            const Place place = PlaceOf(site);
            const auto leaf = [&](NodeId of) { return SiteLeaf(place.site, Count() + 1, of); };
            const at::Tensor value = IsAllRows(invoke) ? Together(invoke, leaf) : leaf(invoke);
            site.visit += static_cast<uint32_t>(step * visits);
            AddLeaves(absl::StrCat(cache.name, Suffix(), "/", graph::ToString(site)),
                      ToDType(Shown(place, value), cache.dtype), out);
          }
        }
      }
    }
  }

  Saved drawn_;  // by random operators
  std::set<Asked> asked_;
  std::map<std::pair<NodeId, const at::TensorImpl*>, at::Tensor> gradients_;
  std::set<std::pair<NodeId, const at::TensorImpl*>> going_;
};

template <typename Look>
void ForEachReading(const graph::Program& program, const PlainModel& model, const Saved& drawn,
                    const Look& look) {
  bool backwards = false;
  for (const graph::Node& node : program.nodes) {
    backwards |= std::holds_alternative<graph::Backward>(node.kind);
  }
  const c10::InferenceMode guard(!backwards);
  const at::AutoGradMode autograd(backwards);
  Interpreter outside(program, model, drawn, graph::kNoNode, 0);
  look(outside);
  for (NodeId n = 1; n <= program.nodes.size(); ++n) {
    const auto* sweep = std::get_if<graph::Sweep>(&program.at(n).kind);
    if (sweep == nullptr) continue;
    for (size_t point = 0; point < sweep->parameters[0].size(); ++point) {
      Interpreter inside(program, model, drawn, n, point);
      look(inside);
    }
  }
}

}  // namespace

void AddLeaves(const std::string& name, const c10::IValue& value, Saved& out) {
  if (value.isTensor()) {
    out[name] = value.toTensor().detach();
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

Saved Interpret(const graph::Program& program, const PlainModel& model, const Saved& drawn) {
  Saved saved;
  ForEachReading(program, model, drawn, [&](Interpreter& reading) { reading.AddSaves(saved); });
  return saved;
}

bool LossReaches(const graph::Program& program, const PlainModel& model, const Saved& drawn,
                 NodeId node) {
  bool reaches = true;
  const bool swept = program.SweepOf(node) != graph::kNoNode;
  ForEachReading(program, model, drawn, [&](Interpreter& reading) {
    if (reading.Sees(node) && reading.in_sweep() == swept) {
      reaches = reaches && reading.LossReaches(node);
    }
  });
  return reaches;
}

void InterpretAll(const graph::Program& program, const PlainModel& model, const Saved& drawn) {
  ForEachReading(program, model, drawn, [&](Interpreter& reading) { reading.LookAtAll(); });
}

}  // namespace weft::reference
