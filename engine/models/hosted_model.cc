#include "engine/models/hosted_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/plan/operators.h"
#include "engine/plan/planner.h"

namespace weft::models {
namespace {

/// What one recording pass saw, in order.
struct Seen {
  int tap;
  c10::ScalarType dtype;
  std::vector<int64_t> shape;  // as a tap shows it: [B, T, ...]
  bool last_token;             // of a generation, the last one alone comes here
};

class SiteRecorder : public run::Recorder {
 public:
  explicit SiteRecorder(const run::Segment& segment) : segment_(segment) {}
  void Record(int tap, const at::Tensor& value) override {
    const at::Tensor rows = run::Cut(value, segment_);
    seen_.push_back({tap, value.scalar_type(), rows.sizes().vec(), last_token_});
  }
  void KeepLast() override { last_token_ = true; }
  const std::vector<Seen>& seen() const { return seen_; }

 private:
  const run::Segment& segment_;
  std::vector<Seen> seen_;
  bool last_token_ = false;
};

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

graph::Pattern InForm(const run::OutputForm& form, graph::Pattern::Tensor leaf) {
  graph::Pattern tensor, out;
  tensor.value = std::move(leaf);
  switch (form.kind) {
    case run::OutputForm::Kind::kTensor:
      return tensor;
    case run::OutputForm::Kind::kTuple: {
      graph::Pattern::Tuple tuple;
      tuple.items.resize(1 + form.nones);
      tuple.items[0] = std::move(tensor);
      out.value = std::move(tuple);
      return out;
    }
    case run::OutputForm::Kind::kDict: {
      graph::Pattern::Dict dict;
      dict.entries.emplace_back(form.field, std::move(tensor));
      out.value = std::move(dict);
      return out;
    }
  }
  return out;
}

/// The tree in order, with full paths.
void Collect(Module* module, const std::string& path, std::vector<Module*>& modules,
             std::vector<std::string>& paths) {
  module->SetTap(static_cast<int>(modules.size()) * 2);
  modules.push_back(module);
  paths.push_back(path);
  for (const auto& [name, child] : module->children()) {
    Collect(child, path.empty() ? name : absl::StrCat(path, ".", name), modules, paths);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<HostedModel>> HostedModel::Host(Network network, bool pad_left) {
  run::InstallMemoryAccounts();
  auto model = std::unique_ptr<HostedModel>(new HostedModel(std::move(network), pad_left));
  Collect(model->network_.root.get(), "", model->modules_, model->paths_);
  absl::Status status = plan::CatchTorch([&] { return model->RecordSites(); });
  if (!status.ok()) return status;
  return model;
}

absl::Status HostedModel::RecordSites() {
  const std::vector<plan::RowCount> counts = RecordingCounts(network_.max_tokens);
  std::vector<std::vector<Seen>> passes;
  for (const plan::RowCount& count : counts) {
    const auto input = run::InvokeInput::Make(
        std::vector<std::vector<int64_t>>(count.batch, std::vector<int64_t>(count.tokens, 0)), 0,
        pad_left_);
    run::Segment segment;
    segment.input = &input;
    segment.tokens = input.tokens();
    SiteRecorder recorder(segment);
    // The recorder needs no table: it sees taps as they come.
    const run::TapTable none(
        plan::ModelSpec(std::vector<plan::ModuleSpec>(modules_.size()), {}, {}), {});
    const c10::InferenceMode guard;
    run::Pass pass(none, {&segment}, &recorder);
    Call(pass, *network_.root, pass.Ids());
    passes.push_back(recorder.seen());
  }

  std::vector<plan::ModuleSpec> modules;
  std::vector<run::OutputForm> forms;
  for (size_t i = 0; i < modules_.size(); ++i) {
    modules.push_back({paths_[i], modules_[i]->rowwise()});
    forms.push_back(modules_[i]->form());
  }
  std::vector<plan::SiteSpec> sites;
  std::vector<uint32_t> visits(modules_.size() * 2, 0);
  for (size_t i = 0; i < passes[0].size(); ++i) {
    const Seen& seen = passes[0][i];
    const Module& module = *modules_[seen.tap / 2];
    const bool output = seen.tap % 2 == 1;
    graph::Pattern::Tensor leaf;
    leaf.dtype = plan::FromScalarType(seen.dtype);
    if (!output) leaf.range = module.input_range();
    for (size_t d = 0; d < seen.shape.size(); ++d) {
      std::vector<int64_t> sizes;
      for (const auto& pass : passes) {
        if (pass.size() != passes[0].size() || pass[i].tap != seen.tap ||
            pass[i].shape.size() != seen.shape.size()) {
          return absl::InternalError(absl::StrCat(
              "`", paths_[seen.tap / 2], "`: which modules are called depends on the prompt"));
        }
        sizes.push_back(pass[i].shape[d]);
      }
      const std::optional<graph::Dimension> fit = FitDimension(sizes, counts);
      if (!fit) {
        return absl::InternalError(absl::StrCat("`", paths_[seen.tap / 2], "`: dimension ", d,
                                                " is no form of batch and tokens"));
      }
      leaf.shape.push_back(*fit);
    }
    plan::SiteSpec site;
    site.module = seen.tap / 2;
    site.site.module = paths_[site.module];
    site.site.point = output ? graph::Point::kOutput : graph::Point::kInput;
    site.site.visit = visits[seen.tap]++;
    site.last_token = seen.last_token;
    site.pattern = output ? InForm(forms[site.module], std::move(leaf)) : [&] {
      graph::Pattern pattern;
      pattern.value = std::move(leaf);
      return pattern;
    }();
    sites.push_back(std::move(site));
  }
  absl::flat_hash_map<std::string, plan::ParameterSpec> parameters;
  for (const auto& [name, tensor] : network_.parameters) {
    parameters[name] = {plan::FromScalarType(tensor.scalar_type()), tensor.sizes().vec()};
  }
  spec_ = std::make_unique<plan::ModelSpec>(
      std::move(modules), std::move(sites), std::move(parameters),
      static_cast<uint64_t>(network_.cache_elements) * sizeof(float));
  taps_ = std::make_unique<run::TapTable>(*spec_, std::move(forms));
  return absl::OkStatus();
}

absl::Status HostedModel::Run(absl::Span<run::Run* const> runs) {
  return plan::CatchTorch([&]() -> absl::Status {
    bool gradients = false;
    for (const run::Run* run : runs) gradients |= run->gradients();
    if (gradients && runs.size() > 1) {
      return absl::InternalError("a run with gradients shares a pass");
    }
    const c10::InferenceMode guard(!gradients);
    const at::AutoGradMode autograd(gradients);
    // Whoever is late or fails before the first site takes no part.
    std::vector<run::Run*> taking_part;
    for (run::Run* run : runs) {
      run->Begin(runs.size() > 1);
      if (!run->ended()) taking_part.push_back(run);
    }
    run::Pass pass(*taps_, taking_part, pad_left_);
    at::Tensor result;
    if (!pass.present().empty()) {
      passes_.fetch_add(1, std::memory_order_relaxed);
      result = Call(pass, *network_.root, pass.Ids());
      module_calls_.fetch_add(pass.module_calls(), std::memory_order_relaxed);
    }
    // From here on nothing can break for all.
    for (run::Run* run : taking_part) run->EndPass(result);
    return absl::OkStatus();
  });
}

at::Tensor HostedModel::Forward(const run::InvokeInput& input) const {
  const c10::InferenceMode guard;
  run::Segment segment;
  segment.input = &input;
  segment.tokens = input.tokens();
  run::Pass pass(*taps_, {&segment}, nullptr);
  return Call(pass, *network_.root, pass.Ids());
}

absl::StatusOr<at::Tensor> HostedModel::Parameter(const std::string& path) const {
  auto it = network_.parameters.find(path);
  if (it == network_.parameters.end()) {
    return absl::NotFoundError(absl::StrCat("no parameter `", path, "`"));
  }
  return it->second;
}

absl::StatusOr<c10::IValue> HostedModel::CallModule(int module, const at::Tensor& input,
                                                    const run::Segment* segment) const {
  Module& called = *modules_[module];
  run::Segment own;
  std::vector<run::Segment*> segments;
  if (segment != nullptr) {
    own.input = segment->input;
    own.tokens = segment->tokens;
    segments.push_back(&own);
  }
  run::Pass pass(*taps_, std::move(segments), nullptr);
  const plan::SiteSpec& site = spec_->sites()[spec_->FindSite(module, graph::Point::kInput, 0)];
  const auto& pattern = std::get<graph::Pattern::Tensor>(site.pattern.value);
  // The module's own trailing dimensions stay; all before them become rows.
  const int64_t own_dims = static_cast<int64_t>(pattern.shape.size()) - 2;
  const auto leading = input.sizes().slice(0, input.dim() - own_dims);
  std::vector<int64_t> packed = {1, c10::multiply_integers(leading)};
  packed.insert(packed.end(), input.sizes().end() - own_dims, input.sizes().end());
  at::Tensor output = called.forward(pass, input.reshape(packed));
  std::vector<int64_t> shape(leading.begin(), leading.end());
  shape.insert(shape.end(), output.sizes().begin() + 2, output.sizes().end());
  return run::InForm(called.form(), output.reshape(shape));
}

}  // namespace weft::models
