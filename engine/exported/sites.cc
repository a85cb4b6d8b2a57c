#include "engine/exported/sites.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "engine/exported/executor.h"
#include "engine/exported/packing.h"
#include "engine/plan/operators.h"
#include "engine/plan/planner.h"

namespace weft::exported {
namespace {

using graph::Point;
using plan::OperationSpec;
using plan::SiteSpec;

/// Sizes to run at: a base, one with another batch, one with other tokens, one with both.
std::vector<plan::RowCount> CountsOf(const Dynamics& dynamics) {
  const auto pick = [](const Range& range, int64_t wanted) {
    return std::clamp(wanted, range.least, range.most);
  };
  const auto three = [&](bool dynamic, const Range& range, int64_t first) {
    std::vector<int64_t> sizes(3, pick(range, first));
    if (!dynamic) return sizes;
    sizes[1] = pick(range, sizes[0] + 1);
    sizes[2] = pick(range, sizes[0] + 4);
    // Of a narrow range the other end.
    if (sizes[1] == sizes[0]) sizes[1] = range.least;
    return sizes;
  };
  const std::vector<int64_t> b = three(dynamics.batch, dynamics.batches, 2);
  const std::vector<int64_t> t = three(dynamics.tokens, dynamics.lengths, 3);
  return {{b[0], t[0]}, {b[1], t[0]}, {b[0], t[1]}, {b[2], t[2]}};
}

class SiteMaker {
 public:
  SiteMaker(Graph& graph, const Dynamics& dynamics, const RecordLimits& limits)
      : graph_(graph), dynamics_(dynamics), limits_(limits), counts_(CountsOf(dynamics)) {}

  absl::StatusOr<models::RecordedSites> Make() {
    const absl::Time deadline = absl::Now() + absl::Seconds(limits_.seconds);
    absl::Status status = plan::CatchTorch([&] {
      const c10::InferenceMode guard;
      for (const plan::RowCount& count : counts_) RunAt(count, deadline);
      return absl::OkStatus();
    });
    if (!status.ok()) {
      return absl::Status(status.code() == absl::StatusCode::kInternal
                              ? absl::StatusCode::kInvalidArgument
                              : status.code(),
                          absl::StrCat("trying the program: ", status.message()));
    }
    // Prompts of different lengths have nothing in common.
    if (dynamics_.batch && !dynamics_.tokens && counts_[1].batch != counts_[0].batch) {
      const std::string why = FindLayouts(graph_, made_[0], made_[1]);
      found_.one_invoke = !why.empty();
    } else {
      found_.one_invoke = true;
    }
    for (const Step& step : graph_.steps) {
      switch (step.kind) {
        case Step::Kind::kEnter:
          AddBoundary(graph_.calls[step.index], Point::kInput);
          break;
        case Step::Kind::kNode:
          // The module whose steps these are.
          AddOperation(graph_.nodes[step.index], graph_.calls[open_.back()]);
          continue;
        case Step::Kind::kLeave:
          AddBoundary(graph_.calls[step.index], Point::kOutput);
          break;
      }
      if (step.kind == Step::Kind::kEnter) {
        open_.push_back(step.index);
      } else {
        open_.pop_back();
      }
    }
    const ModuleCall& root = graph_.calls[0];
    if (root.input.time < 0 || root.output.time < 0) {
      return absl::UnimplementedError(absl::StrCat(
          "the program itself: ", root.input.time < 0 ? root.input.why : root.output.why));
    }
    return std::move(found_);
  }

 private:
  void RunAt(const plan::RowCount& count, absl::Time deadline) {
    Samples& made = made_.emplace_back();
    made.batch = count.batch;
    made.values.resize(graph_.program.values.size());
    std::vector<at::Tensor> inputs;
    for (const ValueId input : graph_.user_inputs) inputs.push_back(InputAt(input, count));
    Executor executor(graph_, nullptr, limits_.memory_bytes);
    executor.set_deadline(deadline);
    executor.set_observer([&made](ValueId value, const c10::IValue& what) {
      Sample& sample = made.values[value];
      if (what.isTensor()) {
        sample = {what.toTensor().scalar_type(), what.toTensor().sizes().vec()};
      } else if (what.isInt()) {
        sample.number = what.toInt();
      } else if (what.isBool()) {
        sample.number = what.toBool() ? 1 : 0;
      }
    });
    executor.Run(inputs);
  }

  /// Numbers that are neither all alike nor large; indices that every table has.
  at::Tensor InputAt(ValueId input, const plan::RowCount& count) const {
    const TensorMeta& meta = *graph_.program.values[input].meta;
    std::vector<int64_t> sizes;
    int64_t elements = 1;
    for (const Size& size : meta.sizes) {
      sizes.push_back(SizeForm(graph_, dynamics_, size)->At(count.batch, count.tokens));
      TORCH_CHECK(
          !__builtin_mul_overflow(elements, sizes.back(), &elements) && elements <= kMostElements,
          "the least input `", exported::Shown(graph_.program.values[input].name),
          "` that it takes has too many elements");
    }
    const run::MemoryAccount account(limits_.memory_bytes);
    const run::MemoryAccount::Charging charging(limits_.memory_bytes > 0 ? &account : nullptr);
    const c10::ScalarType dtype = plan::ToScalarType(meta.dtype);
    if (!c10::isFloatingType(dtype)) return at::zeros(sizes, dtype);
    return at::linspace(-1, 1, std::max<int64_t>(1, elements), at::kFloat)
        .narrow(0, 0, elements)
        .view(sizes)
        .to(dtype);
  }

  /// The form of batch and tokens that a value's dimension has; nothing if it has none.
  std::optional<graph::Dimension> Fit(ValueId value, size_t d) const {
    const auto size = [&](size_t run) { return made_[run].values[value].sizes[d]; };
    graph::Dimension fit;
    const int64_t batches = counts_[1].batch - counts_[0].batch;
    const int64_t tokens = counts_[2].tokens - counts_[0].tokens;
    if (batches != 0) {
      if ((size(1) - size(0)) % batches != 0) return {};
      fit.batch = (size(1) - size(0)) / batches;
    }
    if (tokens != 0) {
      if ((size(2) - size(0)) % tokens != 0) return {};
      fit.tokens = (size(2) - size(0)) / tokens;
    }
    fit.constant = size(0) - fit.batch * counts_[0].batch - fit.tokens * counts_[0].tokens;
    for (size_t run = 0; run < counts_.size(); ++run) {
      if (fit.At(counts_[run].batch, counts_[run].tokens) != size(run)) return {};
    }
    return fit;
  }

  std::optional<graph::Pattern::Tensor> PatternOf(ValueId value) const {
    const Sample& first = made_[0].values[value];
    if (first.dtype == c10::ScalarType::Undefined) return {};
    graph::Pattern::Tensor pattern;
    pattern.dtype = plan::FromScalarType(first.dtype);
    for (const Samples& run : made_) {
      const Sample& other = run.values[value];
      if (other.dtype != first.dtype || other.sizes.size() != first.sizes.size()) return {};
    }
    for (size_t d = 0; d < first.sizes.size(); ++d) {
      const std::optional<graph::Dimension> fit = Fit(value, d);
      if (!fit) return {};
      pattern.shape.push_back(*fit);
    }
    return pattern;
  }

  bool WholeOf(ValueId value) const {
    return graph_.layouts.empty() || graph_.layouts[value].dimension < 0;
  }

  SiteSpec SiteAt(const ModuleCall& call, Point point) const {
    SiteSpec site;
    site.module = call.module;
    site.site.module = graph_.modules[call.module].path;
    site.site.point = point;
    site.site.visit = call.visit;
    return site;
  }

  graph::Pattern InStructure(const Structure& structure, const std::vector<ValueId>& leaves,
                             size_t* next, bool* ok, SiteSpec& site) const {
    graph::Pattern made;
    switch (structure.kind) {
      case Structure::Kind::kLeaf: {
        const ValueId leaf = leaves[(*next)++];
        if (leaf == kNoValue) break;
        std::optional<graph::Pattern::Tensor> pattern = PatternOf(leaf);
        *ok &= pattern.has_value();
        if (!pattern) break;
        site.whole |= WholeOf(leaf);
        made.value = *std::move(pattern);
        break;
      }
      case Structure::Kind::kTuple: {
        graph::Pattern::Tuple tuple;
        for (const Structure& item : structure.items) {
          tuple.items.push_back(InStructure(item, leaves, next, ok, site));
        }
        made.value = std::move(tuple);
        break;
      }
      case Structure::Kind::kList: {
        graph::Pattern::List list;
        for (const Structure& item : structure.items) {
          list.items.push_back(InStructure(item, leaves, next, ok, site));
        }
        made.value = std::move(list);
        break;
      }
      case Structure::Kind::kDict: {
        graph::Pattern::Dict dict;
        for (size_t i = 0; i < structure.items.size(); ++i) {
          dict.entries.emplace_back(structure.keys[i],
                                    InStructure(structure.items[i], leaves, next, ok, site));
        }
        made.value = std::move(dict);
        break;
      }
      case Structure::Kind::kOther:
        *ok = false;
        break;
    }
    return made;
  }

  void AddBoundary(ModuleCall& call, Point point) {
    Boundary& boundary = point == Point::kInput ? call.input : call.output;
    if (!boundary.why.empty()) return;
    SiteSpec site = SiteAt(call, point);
    bool ok = true;
    size_t next = 0;
    site.pattern = InStructure(boundary.structure, boundary.leaves, &next, &ok, site);
    if (!ok) {
      boundary.why = absl::StrCat(point == Point::kInput ? "what it is given" : "what it returns",
                                  " has a size that is no form of batch and tokens");
      return;
    }
    boundary.time = static_cast<int>(found_.sites.size());
    found_.sites.push_back(std::move(site));
  }

  void AddOperation(BoundNode& node, const ModuleCall& call) {
    const Node& about = graph_.program.nodes[node.node];
    if (node.op.size || node.op.nothing || about.added) return;
    OperationSpec operation;
    operation.module = call.module;
    operation.visit = call.visit;
    operation.op = node.op.name;
    operation.source = about.source;
    const std::string name = absl::StrReplaceAll(
        absl::StartsWith(node.op.name, "aten::") ? node.op.name.substr(6) : node.op.name,
        {{"::", "_"}});
    operation.name =
        absl::StrCat(name, "_", numbers_[absl::StrCat(call.module, "/", call.visit, "/", name)]++);
    AddArguments(node, call, operation);
    AddResults(node, call, operation);
    found_.operations.push_back(std::move(operation));
  }

  /// One value of a site, which may be a list of tensors. Not shown, and none there: weights, and
  /// what has no form.
  graph::Pattern Shown(int place, const std::vector<ValueId>& values, bool list, SiteSpec& site,
                       std::vector<SiteLeaf>& leaves) const {
    graph::Pattern made;
    std::vector<graph::Pattern::Tensor> patterns;
    for (const ValueId value : values) {
      if (value == kNoValue || graph_.weight[value]) return made;
      std::optional<graph::Pattern::Tensor> pattern = PatternOf(value);
      if (!pattern) return made;
      patterns.push_back(*std::move(pattern));
    }
    graph::Pattern::List items;
    for (size_t i = 0; i < values.size(); ++i) {
      if (site.first_input.empty()) {
        site.first_input = {0, place};
        if (list) site.first_input.push_back(0);
      }
      site.writable &= c10::isFloatingType(plan::ToScalarType(patterns[i].dtype));
      site.whole |= WholeOf(values[i]);
      leaves.push_back({place, list ? static_cast<int>(i) : -1, values[i]});
      graph::Pattern tensor;
      tensor.value = std::move(patterns[i]);
      if (!list) return tensor;
      items.items.push_back(std::move(tensor));
    }
    if (!items.items.empty()) made.value = std::move(items);
    return made;
  }

  void AddArguments(BoundNode& node, const ModuleCall& call, OperationSpec& operation) {
    const auto& arguments = node.op.handle->schema().arguments();
    int positional = 0;
    for (const c10::Argument& argument : arguments) positional += !argument.kwarg_only();
    SiteSpec site = SiteAt(call, Point::kInputs);
    site.site.op = operation.name;
    std::vector<graph::Pattern> values(positional);
    for (const BoundNode::Fill& fill : node.fills) {
      if (fill.argument >= positional) continue;
      std::vector<ValueId> used;
      const auto* list = std::get_if<Argument::List>(&fill.from.value);
      if (const auto* use = std::get_if<Argument::Use>(&fill.from.value)) {
        if (graph_.program.values[use->value].tensor) used.push_back(use->value);
      } else if (list != nullptr && list->tensors) {
        for (const Argument& item : list->items) {
          const auto* use = std::get_if<Argument::Use>(&item.value);
          used.push_back(use == nullptr ? kNoValue : use->value);
        }
      }
      if (used.empty()) continue;
      values[fill.argument] = Shown(fill.argument, used, list != nullptr, site, node.arguments);
    }
    if (node.arguments.empty()) return;
    std::sort(node.arguments.begin(), node.arguments.end(),
              [](const SiteLeaf& a, const SiteLeaf& b) {
                return std::tie(a.place, a.item) < std::tie(b.place, b.item);
              });
    site.first_input = {0, node.arguments[0].place};
    if (node.arguments[0].item >= 0) site.first_input.push_back(0);
    graph::Pattern tuple, named;
    tuple.value = graph::Pattern::Tuple{std::move(values)};
    named.value = graph::Pattern::Dict{};
    site.pattern.value = graph::Pattern::Tuple{{std::move(tuple), std::move(named)}};
    node.inputs_time = operation.inputs = static_cast<int>(found_.sites.size());
    for (const SiteLeaf& leaf : node.arguments) {
      operation.arguments.push_back({leaf.place, leaf.item});
    }
    found_.sites.push_back(std::move(site));
  }

  void AddResults(BoundNode& node, const ModuleCall& call, OperationSpec& operation) {
    const Node& about = graph_.program.nodes[node.node];
    SiteSpec site = SiteAt(call, Point::kOutput);
    site.site.op = operation.name;
    std::vector<graph::Pattern> values;
    for (size_t i = 0; i < about.outputs.size(); ++i) {
      values.push_back(Shown(static_cast<int>(i), about.outputs[i].values, about.outputs[i].list,
                             site, node.results));
    }
    if (node.results.empty()) return;
    if (values.size() == 1) {
      site.pattern = std::move(values[0]);
    } else {
      site.pattern.value = graph::Pattern::Tuple{std::move(values)};
    }
    node.output_time = operation.output = static_cast<int>(found_.sites.size());
    for (const SiteLeaf& leaf : node.results) operation.results.push_back({leaf.place, leaf.item});
    found_.sites.push_back(std::move(site));
  }

  Graph& graph_;
  const Dynamics& dynamics_;
  const RecordLimits& limits_;
  const std::vector<plan::RowCount> counts_;
  std::vector<Samples> made_;  // by run
  models::RecordedSites found_;
  std::vector<int> open_;  // calls
  absl::flat_hash_map<std::string, int> numbers_;
};

}  // namespace

absl::StatusOr<models::RecordedSites> RecordSites(Graph& graph, const Dynamics& dynamics,
                                                  const RecordLimits& limits) {
  return SiteMaker(graph, dynamics, limits).Make();
}

}  // namespace weft::exported
