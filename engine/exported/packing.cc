#include "engine/exported/packing.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/exported/row_rules.h"

namespace weft::exported {
namespace {

class LayoutFinder {
 public:
  LayoutFinder(const Graph& graph, const Samples& a, const Samples& b)
      : graph_(graph), a_(a), b_(b) {
    facts_.rows.resize(graph.program.values.size());
    facts_.forms.resize(graph.program.values.size());
  }

  /// Why not; empty where all is well.
  std::string Find() {
    for (const ValueId input : graph_.user_inputs) {
      const Value& value = graph_.program.values[input];
      const TensorMeta& batch = *graph_.program.values[graph_.user_inputs[0]].meta;
      const std::vector<Size>& sizes = value.meta->sizes;
      if (sizes.empty() || !sizes[0].dynamic || sizes[0].symbol != batch.sizes[0].symbol) {
        return absl::StrCat("the input `", Shown(value.name), "` has no rows");
      }
      for (size_t d = 1; d < sizes.size(); ++d) {
        if (sizes[d].dynamic) {
          return absl::StrCat("the input `", Shown(value.name), "` grows in several dimensions");
        }
      }
      facts_.rows[input].dim = 0;
    }
    for (const BoundNode& node : graph_.nodes) {
      if (node.op.nothing) continue;
      const std::string why = node.op.size ? Count(node) : Follow(node);
      if (!why.empty()) {
        return absl::StrCat("node ", Named(graph_.program.nodes[node.node]), ", `", node.op.name,
                            "`: ", why);
      }
    }
    return "";
  }

  std::vector<run::RowLayout> Layouts() const {
    std::vector<run::RowLayout> layouts(facts_.rows.size());
    for (size_t value = 0; value < layouts.size(); ++value) {
      const Rows& rows = facts_.rows[value];
      layouts[value] = {rows.any() && rows.outer == 1 ? rows.dim : -1, rows.inner};
    }
    return layouts;
  }

 private:
  const std::vector<int64_t>& SizesOf(ValueId value, std::vector<int64_t>& buffer) const {
    const c10::IValue& given = graph_.given[value];
    if (!given.isTensor()) return a_.values[value].sizes;
    return buffer = given.toTensor().sizes().vec();
  }

  MaybeRowForm FormOf(const Argument& argument) const {
    if (const auto* use = std::get_if<Argument::Use>(&argument.value)) {
      return facts_.forms[use->value];
    }
    if (const auto* number = std::get_if<int64_t>(&argument.value)) return RowForm::Of(*number);
    if (const auto* truth = std::get_if<bool>(&argument.value)) return RowForm::Of(*truth ? 1 : 0);
    return {};
  }

  /// Arithmetic on sizes.
  std::string Count(const BoundNode& node) {
    const ValueId result = graph_.program.nodes[node.node].outputs[0].values[0];
    if (result == kNoValue) return "";
    const SizeOperator op = *node.op.size;
    if (op != SizeOperator::kSize && op != SizeOperator::kNumel) {
      std::vector<MaybeRowForm> arguments;
      for (const BoundNode::Fill& fill : node.fills) arguments.push_back(FormOf(fill.from));
      facts_.forms[result] = Compute(op, arguments);
      return "";
    }
    const auto* use =
        node.fills.empty() ? nullptr : std::get_if<Argument::Use>(&node.fills[0].from.value);
    if (use == nullptr) return "it is the size of no value";
    std::vector<int64_t> buffer;
    const std::vector<int64_t>& sizes = SizesOf(use->value, buffer);
    const Rows& rows = facts_.rows[use->value];
    const auto rank = static_cast<int64_t>(sizes.size());
    const auto size_at = [&](int64_t dim) -> MaybeRowForm {
      if (rows.any() && dim == rows.dim) return RowForm{0, rows.outer * rows.inner};
      return RowForm::Of(sizes[dim]);
    };
    if (op == SizeOperator::kSize) {
      const MaybeRowForm named =
          node.fills.size() > 1 ? FormOf(node.fills[1].from) : MaybeRowForm();
      if (!named || named->depends()) return "";
      const int64_t dim = named->constant < 0 ? named->constant + rank : named->constant;
      if (dim >= 0 && dim < rank) facts_.forms[result] = size_at(dim);
      return "";
    }
    MaybeRowForm all = RowForm::Of(1);
    for (int64_t dim = 0; dim < rank; ++dim) {
      all = Compute(SizeOperator::kMultiply, {all, size_at(dim)});
    }
    facts_.forms[result] = all;
    return "";
  }

  /// A result must grow with the rows where the rule says that they lie, and nowhere else.
  static bool Fits(const RuleSite& site, ValueId value, const Rows& rows) {
    const int64_t growing = site.Growing(value);
    if (!rows.any()) return growing == -1;
    const std::vector<int64_t>& sizes = site.SizesOf(value);
    return growing == rows.dim && sizes[rows.dim] == rows.outer * site.batch() * rows.inner;
  }

  /// An operator on tensors.
  std::string Follow(const BoundNode& node) {
    const RuleSite site(graph_, node, a_, b_, facts_);
    if (site.results().empty()) return "";
    const RowRule* rule = FindRowRule(node.op.name);
    if (site.CountsRows(rule != nullptr && rule->takes_shape)) {
      return "it computes with the number of rows";
    }
    const bool about =
        rule != nullptr &&
        (!rule->self || (!site.tensors().empty() && site.tensors()[0].argument == 0));
    Rows made;
    if (about && (rule->takes_shape || !site.tensors().empty())) {
      const std::optional<Rows> rows = rule->find(site);
      if (!rows) return "rows meet in it, or it cannot be told that they do not";
      made = *rows;
    } else if (site.AnyRows()) {
      return "nobody knows whether rows meet in it";
    }
    for (const ValueId value : site.results()) {
      // What an operator makes for going backwards, and does not fill here.
      if (made.any() && site.IsEmpty(value)) continue;
      if (!Fits(site, value, made)) return "its results do not lie as its arguments do";
      facts_.rows[value] = made;
      // A number, of what has no rows.
      if (!graph_.program.values[value].tensor) {
        if (made.any()) return "it makes a number of rows";
        facts_.forms[value] = RowForm::Of(a_.values[value].number);
      }
    }
    return "";
  }

  const Graph& graph_;
  const Samples &a_, &b_;
  RowFacts facts_;
};

}  // namespace

std::string FindLayouts(Graph& graph, const Samples& a, const Samples& b) {
  LayoutFinder finder(graph, a, b);
  std::string why = finder.Find();
  if (why.empty()) graph.layouts = finder.Layouts();
  return why;
}

}  // namespace weft::exported
