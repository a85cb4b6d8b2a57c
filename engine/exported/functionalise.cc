#include "engine/exported/functionalise.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/exported/operators.h"
#include "engine/plan/operators.h"

namespace weft::exported {
namespace {

constexpr char kWayOut[] =
    "; save the functional form instead: "
    "torch.export.save(exported_program.run_decompositions({}), path)";

/// `torch.ops.aten.relu.default`.
std::string TargetOf(const plan::OperatorRow& row) {
  return absl::StrCat("torch.ops.", absl::StrReplaceAll(row.name, {{"::", "."}}), ".",
                      row.overload.empty() ? "default" : row.overload);
}

template <typename F>
void ForEachUse(Argument& argument, const F& visit) {
  if (auto* use = std::get_if<Argument::Use>(&argument.value)) visit(use->value);
  if (auto* list = std::get_if<Argument::List>(&argument.value)) {
    for (Argument& item : list->items) ForEachUse(item, visit);
  }
}

class Functionaliser {
 public:
  explicit Functionaliser(Program& program) : program_(program), facts_(program.values.size()) {}

  absl::Status Run() {
    for (const Input& input : program_.inputs) {
      if (input.value != kNoValue) facts_[input.value].given = &input;
    }
    std::vector<Node> nodes = std::move(program_.nodes);
    program_.nodes.clear();
    CountUses(nodes);
    for (place_ = 0; place_ < nodes.size(); ++place_) {
      if (absl::Status status = Add(std::move(nodes[place_])); !status.ok()) return status;
    }
    for (ValueId& output : program_.outputs) Refresh(output);
    for (ModuleEntry& module : program_.modules) {
      if (!module.signature) continue;
      if (module.path.empty()) {
        module.signature->outputs = program_.outputs;
        continue;
      }
      // What was written to later has another value by then, and nobody knows on which side of the
      // module's end: who uses what then tells.
      const auto is_stale = [this](ValueId value) {
        if (value == kNoValue) return false;
        const Fact& fact = facts_[Canonical(value)];
        const int written = facts_[RootOf(Canonical(value))].written;
        return written > 0 && (fact.version != written || Now(Canonical(value)) != value);
      };
      const Signature& signature = *module.signature;
      if (std::any_of(signature.inputs.begin(), signature.inputs.end(), is_stale) ||
          std::any_of(signature.outputs.begin(), signature.outputs.end(), is_stale)) {
        module.signature.reset();
      }
    }
    return absl::OkStatus();
  }

 private:
  static constexpr int kMostWrites = 5000;
  static constexpr size_t kMostMade = 200'000;      // nodes, views made again among them
  static constexpr size_t kMostItems = 2'000'000;   // of these nodes' arguments
  static constexpr size_t kMostLooks = 20'000'000;  // at values, to find what shares memory
  static constexpr int kDeepestView = 64;

  /// Of a value as the export names it. What a name means changes; what it was made as does not.
  struct Fact {
    const Input* given = nullptr;  // a value that the program is given
    ValueId same = kNoValue;       // the result of a write: what was written to
    ValueId now = kNoValue;        // the value that holds what the name means
    ValueId base = kNoValue;       // what it is a view of, or may be
    bool maybe = false;
    int node = -1;    // that made it a view, among program_.nodes
    int depth = 0;    // of views
    int version = 0;  // of its root, when it was made or made again
    int written = 0;  // of a root: how many times
    size_t last = 0;  // behind the last node that uses it
  };

  void CountUses(std::vector<Node>& nodes) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      for (NamedArgument& argument : nodes[i].arguments) {
        ForEachUse(argument.argument, [&](ValueId& value) { facts_[value].last = i + 1; });
      }
    }
    for (const ValueId output : program_.outputs) {
      if (output != kNoValue) facts_[output].last = nodes.size() + 1;
    }
  }

  ValueId Canonical(ValueId value) const {
    return facts_[value].same == kNoValue ? value : facts_[value].same;
  }
  ValueId Now(ValueId value) const {
    return facts_[value].now == kNoValue ? value : facts_[value].now;
  }
  ValueId RootOf(ValueId value) const {
    while (facts_[value].base != kNoValue) value = facts_[value].base;
    return value;
  }

  void Refresh(ValueId& value) {
    if (value != kNoValue) value = Current(Canonical(value));
  }
  /// What a name means after the writes so far: of a view made before them, a view made again.
  ValueId Current(ValueId value) {
    const ValueId root = RootOf(value);
    if (root == value || facts_[value].version == facts_[root].written || facts_[value].maybe) {
      return Now(value);
    }
    const ValueId base = Current(facts_[value].base);
    Node again = program_.nodes[facts_[value].node];
    items_ += CountItems(again);
    const ValueId fresh = NewValue(value);
    SetFirst(again, {Argument::Use{base}});
    again.outputs = {Output{false, {fresh}}};
    again.added = true;
    program_.nodes.push_back(std::move(again));
    facts_[value].now = fresh;
    facts_[value].version = facts_[root].written;
    return fresh;
  }

  ValueId NewValue(ValueId like) {
    Value value = program_.values[like];
    program_.values.push_back(std::move(value));
    facts_.emplace_back();
    return static_cast<ValueId>(program_.values.size()) - 1;
  }

  absl::Status Refuse(const Node& node, const std::string& message) const {
    return absl::UnimplementedError(absl::StrCat("node ", Named(node), ": ", message));
  }

  /// The value that is its schema's first argument.
  static ValueId FirstOf(const Node& node, const GraphOperator& op) {
    if (!op.handle || op.handle->schema().arguments().empty()) return kNoValue;
    const std::string& name = op.handle->schema().arguments()[0].name();
    for (const NamedArgument& given : node.arguments) {
      if (given.name != name) continue;
      const auto* use = std::get_if<Argument::Use>(&given.argument.value);
      return use == nullptr ? kNoValue : use->value;
    }
    return kNoValue;
  }

  /// Of views, whose first argument is `self`.
  static void SetFirst(Node& node, Argument argument) {
    for (NamedArgument& given : node.arguments) {
      if (given.name != "self") continue;
      given.argument = std::move(argument);
      return;
    }
  }

  static size_t CountItems(const Node& node) {
    size_t size = 0;
    for (const NamedArgument& argument : node.arguments) size += CountItems(argument.argument);
    return size;
  }
  static size_t CountItems(const Argument& argument) {
    size_t size = 1;
    if (const auto* list = std::get_if<Argument::List>(&argument.value)) {
      for (const Argument& item : list->items) size += CountItems(item);
    }
    return size;
  }

  static bool Writes(const GraphOperator& op) {
    // Of those beside the table, what would be written is turned off by an argument.
    return op.row != nullptr && op.row->schema().is_mutable();
  }
  static bool MakesViews(const GraphOperator& op) {
    if (op.identity) return true;
    if (op.row != nullptr) return op.row->makes != plan::Makes::kFresh;
    return op.handle && (op.name == "aten::to" || op.name == "aten::_unsafe_view" ||
                         absl::StrContains(op.name, "dropout"));
  }
  static bool MaybeView(const GraphOperator& op) {
    return !op.identity && (op.row == nullptr || op.row->makes != plan::Makes::kView);
  }

  absl::Status Add(Node node) {
    absl::StatusOr<GraphOperator> op = FindOperator(node.target);
    if (!op.ok()) {
      return absl::Status(op.status().code(),
                          absl::StrCat("node ", Named(node), ": ", op.status().message()));
    }
    ValueId first = FirstOf(node, *op);
    if (first != kNoValue) first = Canonical(first);
    for (NamedArgument& argument : node.arguments) {
      ForEachUse(argument.argument, [&](ValueId& value) { Refresh(value); });
    }
    items_ += CountItems(node);
    if (program_.nodes.size() > kMostMade || items_ > kMostItems) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "node ", Named(node), ": views of what is written to are made again more than ",
          kMostMade, " times, or have more than ", kMostItems, " arguments", kWayOut));
    }
    if (Writes(*op)) return AddInPlace(std::move(node), *op, first);
    if (MakesViews(*op) && first != kNoValue) {
      for (const Output& output : node.outputs) {
        for (const ValueId value : output.values) {
          if (value == kNoValue) continue;
          Fact& fact = facts_[value];
          fact.base = first;
          fact.node = static_cast<int>(program_.nodes.size());
          // One of a list of views cannot be made again by itself.
          fact.maybe = MaybeView(*op) || output.list;
          fact.version = facts_[RootOf(first)].written;
          fact.depth = facts_[first].depth + 1;
          if (fact.depth > kDeepestView) {
            // Far from any write in what people export.
            fact.base = kNoValue;
            fact.depth = 0;
            too_deep_ = true;
          }
        }
      }
    }
    program_.nodes.push_back(std::move(node));
    return absl::OkStatus();
  }

  bool IsInside(ValueId value, ValueId base) const {
    for (; value != kNoValue; value = facts_[value].base) {
      if (value == base) return true;
    }
    return false;
  }
  /// Whether somebody later uses what shares, or may share, `root`'s memory, and is not made from
  /// `part` of it.
  bool SharedLater(ValueId root, ValueId part) const {
    for (size_t i = 0; i < facts_.size(); ++i) {
      if (facts_[i].last <= place_ + 1) continue;
      const ValueId other = Canonical(static_cast<ValueId>(i));
      if (RootOf(other) == root && !IsInside(other, part)) return true;
    }
    return false;
  }
  bool MaybeBelow(ValueId value) const {
    for (; value != kNoValue; value = facts_[value].base) {
      if (facts_[value].maybe) return true;
    }
    return false;
  }

  absl::Status AddInPlace(Node node, const GraphOperator& op, ValueId written) {
    if (written == kNoValue || op.row->fresh == nullptr || node.outputs.size() > 1 || too_deep_ ||
        ++writes_ > kMostWrites || (looks_ += facts_.size()) > kMostLooks) {
      return Refuse(node, absl::StrCat("`", op.name, "` writes into its argument", kWayOut));
    }
    for (ValueId at = written; at != kNoValue; at = facts_[at].base) {
      const Input* given = facts_[at].given;
      if (given == nullptr) continue;
      return Refuse(node,
                    absl::StrCat("it changes `", Shown(given->target), "`, ",
                                 given->kind == Input::Kind::kUser ? "what the program is given"
                                                                   : "which belongs to the model",
                                 "; a hosted model stays as it is: export it after "
                                 "model.eval(), and write `x = x * 2`, not `x *= 2`"));
    }
    // Where it may or may not be a view, and nobody can tell, it is a value of its own.
    for (ValueId at = written; at != kNoValue;) {
      const ValueId base = facts_[at].base;
      if (facts_[at].maybe) {
        if (SharedLater(RootOf(at), at)) {
          return Refuse(node, absl::StrCat("it writes into what may or may not be a view of a "
                                           "value that is used later",
                                           kWayOut));
        }
        facts_[at].base = kNoValue;
        facts_[at].maybe = false;
      }
      at = base;
    }
    const ValueId root = RootOf(written);
    for (size_t i = 0; i < facts_.size(); ++i) {
      if (facts_[i].last <= place_ + 1) continue;
      const ValueId other = Canonical(static_cast<ValueId>(i));
      if (RootOf(other) == root && MaybeBelow(other)) {
        return Refuse(node, absl::StrCat("it writes into a value of which `",
                                         Shown(program_.values[other].name),
                                         "`, used later, may or may not be a view", kWayOut));
      }
    }
    node.target = TargetOf(*op.row->fresh);
    node.keeps_dtype = true;
    ValueId result = kNoValue;
    if (!node.outputs.empty() && !node.outputs[0].values.empty()) {
      result = node.outputs[0].values[0];
    }
    if (result == kNoValue) result = NewValue(written);
    facts_[result].same = written;
    node.outputs = {Output{false, {result}}};
    const Node about = node;  // its place, for what is added
    program_.nodes.push_back(std::move(node));
    // What was written to means the result from here on, and its bases what they hold with it.
    ValueId part = result;
    ++facts_[root].written;
    for (ValueId at = written;; at = facts_[at].base) {
      facts_[at].now = part;
      facts_[at].version = facts_[root].written;
      if (at == root) break;
      absl::StatusOr<Node> put = Scatter(about, at, facts_[at].base, part);
      if (!put.ok()) return put.status();
      part = put->outputs[0].values[0];
      program_.nodes.push_back(*std::move(put));
    }
    return absl::OkStatus();
  }

  /// The node that puts `part` back where the view `at` was cut out of `base`.
  absl::StatusOr<Node> Scatter(const Node& about, ValueId at, ValueId base, ValueId part) {
    const Node view = program_.nodes[facts_[at].node];
    Node put;
    put.name = about.name;
    put.stack = about.stack;
    put.source = about.source;
    put.added = true;
    const ValueId whole = NewValue(base);
    put.outputs = {Output{false, {whole}}};
    const Argument target{Argument::Use{Now(base)}}, source{Argument::Use{part}};
    if (view.target == "torch.ops.aten.select.int") {
      put.target = "torch.ops.aten.select_scatter.default";
    } else if (view.target == "torch.ops.aten.slice.Tensor") {
      put.target = "torch.ops.aten.slice_scatter.default";
    } else if (view.target == "torch.ops.aten.alias.default" ||
               view.target == "torch.ops.aten.detach.default" ||
               view.target == "torch.ops.aten.detach_.default") {
      put.target = "torch.ops.aten.alias.default";
      put.arguments = {{"self", source}};
      return put;
    } else if (view.target == "torch.ops.aten.transpose.int" ||
               view.target == "torch.ops.aten.unsqueeze.default") {
      put = view;  // its own inverse, or nearly
      put.outputs = {Output{false, {whole}}};
      put.added = true;
      SetFirst(put, source);
      if (view.target == "torch.ops.aten.unsqueeze.default") {
        put.target = "torch.ops.aten.squeeze.dim";
      }
      return put;
    } else {
      return Refuse(about,
                    absl::StrCat("it writes through a view made by `", view.target, "`", kWayOut));
    }
    put.arguments = {{"self", target}, {"src", source}};
    for (const NamedArgument& given : view.arguments) {
      if (given.name != "self") put.arguments.push_back(given);
    }
    return put;
  }

  Program& program_;
  std::vector<Fact> facts_;
  size_t place_ = 0;
  int writes_ = 0;
  size_t looks_ = 0;
  size_t items_ = 0;
  bool too_deep_ = false;  // views of views beyond what is kept
};

}  // namespace

absl::Status Functionalise(Program& program) { return Functionaliser(program).Run(); }

}  // namespace weft::exported
