#include "engine/models/record_sites.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/models/site_recorder.h"
#include "engine/plan/planner.h"

namespace weft::models {
namespace {

using graph::Point;
using plan::OperationSpec;
using plan::SiteSpec;

/// Counts to record at: distinct primes, so that a size that happens to equal another is told apart
/// by the next pass. A model of few positions has too few of them, and takes what it has.
std::vector<plan::RowCount> RecordingCounts(int64_t max_tokens) {
  if (max_tokens < 4) {
    const int64_t most = std::min<int64_t>(max_tokens, 2);
    return {{2, 1}, {3, most}, {5, 1}, {7, most}};
  }
  return {
      {2, 3}, {3, std::min<int64_t>(5, max_tokens)}, {5, std::min<int64_t>(7, max_tokens)}, {7, 2}};
}

/// The form of batch and tokens that gives `sizes` at `counts`; nothing if there is none.
std::optional<graph::Dimension> FitDimension(absl::Span<const int64_t> sizes,
                                             absl::Span<const plan::RowCount> counts) {
  // Three equations in three unknowns by Cramer's rule, then all counts are tried.
  const auto& [b0, t0] = counts[0];
  const auto& [b1, t1] = counts[1];
  const auto& [b2, t2] = counts[2];
  int64_t determinant = (b1 - b0) * (t2 - t0) - (b2 - b0) * (t1 - t0);
  const int64_t d1 = sizes[1] - sizes[0], d2 = sizes[2] - sizes[0];
  int64_t batch = d1 * (t2 - t0) - d2 * (t1 - t0);
  int64_t tokens = (b1 - b0) * d2 - (b2 - b0) * d1;
  if (determinant == 0) {
    // Every prompt has one token, as the model takes no more: then nothing varies with them.
    determinant = b1 - b0;
    batch = d1;
    tokens = 0;
  }
  if (batch % determinant != 0 || tokens % determinant != 0) return std::nullopt;
  graph::Dimension dimension;
  dimension.batch = batch / determinant;
  dimension.tokens = tokens / determinant;
  dimension.constant = sizes[0] - dimension.batch * b0 - dimension.tokens * t0;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (dimension.At(counts[i].batch, counts[i].tokens) != sizes[i]) return std::nullopt;
  }
  return dimension;
}

/// The first tensor, and what Pass::Beside was given, if anything, or what the module returned
/// behind it.
graph::Pattern InForm(const run::OutputForm& form, std::vector<graph::Pattern::Tensor> leaves) {
  graph::Pattern tensor, out;
  tensor.value = std::move(leaves[0]);
  switch (form.kind) {
    case run::OutputForm::Kind::kTensor:
      return tensor;
    case run::OutputForm::Kind::kTuple: {
      graph::Pattern::Tuple tuple;
      tuple.items.resize(leaves.size() + form.nones);
      tuple.items[0] = std::move(tensor);
      for (size_t i = 1; i < leaves.size(); ++i) tuple.items[i].value = std::move(leaves[i]);
      out.value = std::move(tuple);
      return out;
    }
    case run::OutputForm::Kind::kDict: {
      graph::Pattern::Dict dict;
      dict.entries.emplace_back(form.field, std::move(tensor));
      for (size_t i = 1; i < leaves.size(); ++i) {
        graph::Pattern other;
        other.value = std::move(leaves[i]);
        dict.entries.emplace_back(form.more_fields.empty() ? form.beside : form.more_fields[i - 1],
                                  std::move(other));
      }
      out.value = std::move(dict);
      return out;
    }
  }
  return out;
}

/// One pass over `inputs`, of which one is recorded.
std::unique_ptr<SiteRecorder> RecordPass(Module& root, size_t modules,
                                         std::vector<run::InvokeInput> inputs, size_t recorded,
                                         bool keep_values) {
  std::vector<run::Segment> segments(inputs.size());
  std::vector<run::Segment*> present;
  for (size_t i = 0; i < inputs.size(); ++i) {
    segments[i].input = &inputs[i];
    segments[i].tokens = inputs[i].tokens();
    present.push_back(&segments[i]);
  }
  int64_t start = 0;
  for (run::Segment& segment : segments) {
    segment.start = start;
    start += segment.rows();
  }
  auto recorder = std::make_unique<SiteRecorder>(segments, recorded, modules, keep_values);
  // The recorder needs no table: it sees taps as they come.
  const plan::ModelSpec spec(std::vector<plan::ModuleSpec>(modules), {}, {});
  const run::TapTable none(spec, {}, root.device(), /*placed=*/true);
  const c10::InferenceMode guard;
  run::Pass pass(none, std::move(present), recorder.get());
  Call(pass, root, pass.Input());
  return recorder;
}

class SiteFinder {
 public:
  SiteFinder(const Network& network, absl::Span<Module* const> modules,
             absl::Span<const std::string> paths, bool pad_left)
      : network_(network),
        modules_(modules),
        paths_(paths),
        pad_left_(pad_left),
        leading_(network.input && !network.input->tokens ? 1 : 2),
        counts_(RecordingCounts(MaxTokens())) {
    Module& root = *network.root;
    for (const plan::RowCount& count : counts_) {
      std::vector<run::InvokeInput> inputs;
      inputs.push_back(Input(count.batch, count.tokens, 0));
      passes_.push_back(RecordPass(root, modules.size(), std::move(inputs), 0, false));
    }
    // The same prompt between others. Without a second token nothing could differ.
    if (!network.input && root.input_range() < 2) return;
    for (const int64_t token : {0, 1}) {
      std::vector<run::InvokeInput> inputs;
      const int64_t tokens = std::min<int64_t>(MaxTokens(), 2);
      inputs.push_back(Input(1, tokens, token));
      inputs.push_back(Input(2, tokens, 0));
      inputs.push_back(Input(3, 1, token));
      beside_.push_back(RecordPass(root, modules.size(), std::move(inputs), 1, true));
    }
  }

  absl::StatusOr<RecordedSites> Find() {
    const SiteRecorder& first = *passes_[0];
    size_t boundary = 0;
    for (size_t i = 0; i < first.seen().size(); ++i) {
      const Seen& seen = first.seen()[i];
      if (seen.boundary) {
        if (absl::Status status = AddBoundary(boundary++); !status.ok()) return status;
        const auto& leaves = first.leaves();
        if (std::find(leaves.begin(), leaves.end(), boundary) != leaves.end()) {
          found_.leaves.push_back(static_cast<int>(found_.sites.size()) - 1);
        }
      } else {
        AddInside(i);
      }
    }
    return std::move(found_);
  }

 private:
  int64_t MaxTokens() const { return leading_ == 1 ? 1 : network_.max_tokens; }

  /// Prompts that are all the same: of `token`, or of numbers that it stands for.
  run::InvokeInput Input(int64_t batch, int64_t tokens, int64_t token) const {
    if (!network_.input) {
      return run::InvokeInput::Make(
          std::vector<std::vector<int64_t>>(batch, std::vector<int64_t>(tokens, token)), 0,
          pad_left_);
    }
    std::vector<int64_t> shape = {batch};
    if (leading_ == 2) shape.push_back(tokens);
    shape.insert(shape.end(), network_.input->shape.begin(), network_.input->shape.end());
    return run::InvokeInput::MakeValues(at::full(shape, token, network_.input->dtype),
                                        leading_ == 1);
  }

  absl::Status AddBoundary(size_t place) {
    const Seen& seen = passes_[0]->seen()[passes_[0]->boundaries()[place]];
    const Module& module = *modules_[seen.module];
    std::vector<const Seen*> all;
    for (const auto& pass : passes_) {
      if (pass->boundaries().size() == passes_[0]->boundaries().size()) {
        all.push_back(&pass->seen()[pass->boundaries()[place]]);
      }
      if (all.empty() || !all.back()->IsLike(seen) || !SameRows(*all.back(), seen)) {
        return absl::InternalError(absl::StrCat(
            "`", paths_[seen.module], "`: which modules are called depends on the prompt"));
      }
    }
    std::vector<graph::Pattern::Tensor> leaves;
    for (size_t i = 0; i < seen.leaves.size(); ++i) {
      graph::Pattern::Tensor& leaf = leaves.emplace_back();
      leaf.dtype = plan::FromScalarType(seen.leaves[i].dtype);
      if (seen.point == Point::kInput) leaf.range = module.input_range();
      for (size_t d = 0; d < seen.leaves[i].shape.size(); ++d) {
        const std::optional<graph::Dimension> fit = Fit(all, i, d);
        if (!fit) {
          return absl::InternalError(absl::StrCat("`", paths_[seen.module], "`: dimension ", d,
                                                  " is no form of batch and tokens"));
        }
        leaf.shape.push_back(*fit);
      }
    }
    const run::OutputForm form = seen.point == Point::kOutput ? module.form() : run::OutputForm();
    const size_t expected = 1 + form.further() + (form.beside.empty() ? 0 : 1);
    if (leaves.size() > 1 ? leaves.size() != expected : form.further() > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("`", paths_[seen.module], "` returns ", leaves.size(),
                       " tensors of packed rows, and its form says ", 1 + form.further()));
    }
    SiteSpec site = SiteOf(seen);
    site.pattern = InForm(form, std::move(leaves));
    found_.sites.push_back(std::move(site));
    return absl::OkStatus();
  }

  static bool SameRows(const Seen& a, const Seen& b) {
    for (size_t i = 0; i < a.leaves.size(); ++i) {
      if (!a.leaves[i].rows || a.leaves[i].shape.size() != b.leaves[i].shape.size()) return false;
    }
    return true;
  }

  SiteSpec SiteOf(const Seen& seen) const {
    SiteSpec site;
    site.module = seen.module;
    site.site.module = paths_[seen.module];
    site.site.point = seen.point;
    site.site.visit = seen.visit;
    site.last_token = seen.last_token;
    site.pooled = seen.pooled;
    return site;
  }

  /// The size of dimension `d` of a leaf in all passes.
  std::optional<graph::Dimension> Fit(const std::vector<const Seen*>& all, size_t leaf,
                                      size_t d) const {
    std::vector<int64_t> sizes;
    for (const Seen* seen : all) sizes.push_back(seen->leaves[leaf].shape[d]);
    return FitDimension(sizes, counts_);
  }

  /// The same place inside a module in other passes; nullptr if what happens inside this module
  /// depends on how many rows there are.
  static const Seen* AlikeIn(const SiteRecorder& pass, const SiteRecorder& first, const Seen& seen,
                             size_t ordinal) {
    const auto& places = pass.Inside(seen.module, seen.visit);
    const auto& expected = first.Inside(seen.module, seen.visit);
    if (places.size() != expected.size()) return nullptr;
    for (size_t i = 0; i < places.size(); ++i) {
      if (!pass.seen()[places[i]].IsLike(first.seen()[expected[i]])) return nullptr;
    }
    return &pass.seen()[places[ordinal]];
  }

  void AddInside(size_t place) {
    const SiteRecorder& first = *passes_[0];
    const Seen& seen = first.seen()[place];
    const auto& inside = first.Inside(seen.module, seen.visit);
    const size_t ordinal = std::lower_bound(inside.begin(), inside.end(), place) - inside.begin();
    std::vector<const Seen*> all, beside;
    for (const auto& pass : passes_) {
      const Seen* other = AlikeIn(*pass, first, seen, ordinal);
      if (other == nullptr) return;
      all.push_back(other);
    }
    for (const auto& pass : beside_) {
      if (const Seen* other = AlikeIn(*pass, first, seen, ordinal)) beside.push_back(other);
    }
    std::vector<std::optional<graph::Pattern::Tensor>> leaves;
    for (size_t i = 0; i < seen.leaves.size(); ++i) leaves.push_back(LeafOf(all, beside, i));
    SiteSpec site = SiteOf(seen);
    if (seen.op.empty()) {
      if (!leaves[0]) return;
      if (seen.point == Point::kScores || seen.point == Point::kProbs) {
        // Of a later step, all keys.
        leaves[0]->shape.back().past = leaves[0]->shape.back().tokens;
      }
      site.pattern.value = *std::move(leaves[0]);
      found_.sites.push_back(std::move(site));
      return;
    }
    if (seen.point == Point::kInputs) StartOperation(seen);
    const auto running = running_.find({seen.module, seen.visit});
    OperationSpec& operation = found_.operations[running->second];
    site.site.op = operation.name;
    auto& shown = seen.point == Point::kInputs ? operation.arguments : operation.results;
    if (seen.in_place || !DescribeLeaves(seen, std::move(leaves), site, shown)) return;
    (seen.point == Point::kInputs ? operation.inputs : operation.output) =
        static_cast<int>(found_.sites.size());
    found_.sites.push_back(std::move(site));
  }

  void StartOperation(const Seen& seen) {
    OperationSpec operation;
    operation.module = seen.module;
    operation.visit = seen.visit;
    operation.op = seen.op;
    std::string name = absl::StrReplaceAll(
        absl::StartsWith(seen.op, "aten::") ? seen.op.substr(6) : seen.op, {{"::", "_"}});
    const int number = numbers_[absl::StrCat(seen.module, "/", seen.visit, "/", name)]++;
    operation.name = absl::StrCat(name, "_", number);
    running_[{seen.module, seen.visit}] = found_.operations.size();
    found_.operations.push_back(std::move(operation));
  }

  /// The shape of a leaf that can be cut exactly; nothing for another.
  std::optional<graph::Pattern::Tensor> LeafOf(const std::vector<const Seen*>& all,
                                               const std::vector<const Seen*>& beside,
                                               size_t leaf) const {
    const Seen::Leaf& first = all[0]->leaves[leaf];
    graph::Pattern::Tensor tensor;
    tensor.dtype = plan::FromScalarType(first.dtype);
    for (const Seen* seen : all) {
      const Seen::Leaf& other = seen->leaves[leaf];
      if (!(other.rows || other.own) || other.shape.size() != first.shape.size()) return {};
    }
    for (size_t d = 0; d < first.shape.size(); ++d) {
      const std::optional<graph::Dimension> fit = Fit(all, leaf, d);
      if (!fit) return {};
      // Packed rows have prompts and tokens first, and nothing of either behind.
      const size_t leading = all[0]->pooled ? 1 : leading_;
      if (first.rows && d >= leading && (fit->batch != 0 || fit->tokens != 0)) return {};
      tensor.shape.push_back(*fit);
    }
    if (first.own) return tensor;
    if (beside.size() != 2) return {};
    const at::Tensor &a = beside[0]->leaves[leaf].value, &b = beside[1]->leaves[leaf].value;
    if (!a.defined() || !b.defined()) return {};
    // Kernels may round differently; what leaks from a neighbour is of the values' own size.
    const double tolerance = c10::elementSize(first.dtype) < 4 ? 2e-2 : 1e-4;
    const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
    const double scale = x.numel() == 0 ? 0 : x.abs().nan_to_num(0, 0, 0).max().item<double>();
    if (!at::allclose(x, y, 0, tolerance * scale, /*equal_nan=*/true)) return {};
    return tensor;
  }

  /// A site's pattern and leaves, if any can be shown. What cannot is none there: weights, numbers.
  static bool DescribeLeaves(const Seen& seen,
                             std::vector<std::optional<graph::Pattern::Tensor>> leaves,
                             SiteSpec& site, std::vector<OperationSpec::Leaf>& shown) {
    std::vector<graph::Pattern> values(seen.count);
    for (size_t i = 0; i < leaves.size();) {
      const OperationSpec::Leaf& at = seen.leaves[i].at;
      size_t end = i;
      bool whole = true;
      while (end < leaves.size() && seen.leaves[end].at.place == at.place) {
        whole &= leaves[end++].has_value();
      }
      graph::Pattern::List list;
      for (; i < end; ++i) {
        if (!whole) continue;
        if (site.first_input.empty()) {
          site.first_input = {0, at.place};
          if (at.item >= 0) site.first_input.push_back(0);
        }
        site.writable &= c10::isFloatingType(seen.leaves[i].dtype);
        shown.push_back(seen.leaves[i].at);
        graph::Pattern tensor;
        tensor.value = *std::move(leaves[i]);
        if (at.item < 0) {
          values[at.place] = std::move(tensor);
        } else {
          list.items.push_back(std::move(tensor));
        }
      }
      if (whole && at.item >= 0) values[at.place].value = std::move(list);
    }
    if (shown.empty()) return false;
    if (seen.point == Point::kInputs) {
      graph::Pattern positional, named;
      positional.value = graph::Pattern::Tuple{std::move(values)};
      named.value = graph::Pattern::Dict{};
      site.pattern.value = graph::Pattern::Tuple{{std::move(positional), std::move(named)}};
    } else if (values.size() == 1) {
      site.pattern = std::move(values[0]);
    } else {
      site.pattern.value = graph::Pattern::Tuple{std::move(values)};
    }
    return true;
  }

  const Network& network_;
  const absl::Span<Module* const> modules_;
  const absl::Span<const std::string> paths_;
  const bool pad_left_;
  const size_t leading_;  // dimensions in front of a prompt's rows
  const std::vector<plan::RowCount> counts_;
  std::vector<std::unique_ptr<SiteRecorder>> passes_, beside_;
  RecordedSites found_;
  /// By module and visit, the operation that is being described.
  absl::flat_hash_map<std::pair<int, uint32_t>, size_t> running_;
  absl::flat_hash_map<std::string, int> numbers_;
};

}  // namespace

absl::StatusOr<RecordedSites> RecordSites(const Network& network, absl::Span<Module* const> modules,
                                          absl::Span<const std::string> paths, bool pad_left) {
  return SiteFinder(network, modules, paths, pad_left).Find();
}

}  // namespace weft::models
