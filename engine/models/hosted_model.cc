#include "engine/models/hosted_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/models/lora.h"
#include "engine/models/record_sites.h"
#include "engine/plan/operators.h"
#include "engine/plan/planner.h"

namespace weft::models {
namespace {

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
  model->PlaceModules();
  absl::Status status = plan::CatchTorch([&] { return model->RecordSites(); });
  if (!status.ok()) return status;
  return model;
}

void HostedModel::PlaceModules() {
  // Blocks, and what holds them.
  std::set<std::string> hand_on = {""};
  for (const std::string& path : paths_) {
    if (devices::BlockOf(path) != path) continue;
    for (size_t end = path.size(); end != std::string::npos && end > 0;
         end = path.rfind('.', end - 1)) {
      hand_on.insert(path.substr(0, end));
    }
  }
  for (size_t i = 0; i < modules_.size(); ++i) {
    modules_[i]->Place(network_.devices.Of(paths_[i]), hand_on.contains(paths_[i]));
  }
}

absl::Status HostedModel::RecordSites() {
  absl::StatusOr<RecordedSites> recorded =
      network_.record_sites ? network_.record_sites()
                            : models::RecordSites(network_, modules_, paths_, pad_left_);
  if (!recorded.ok()) return recorded.status();
  std::vector<plan::ModuleSpec> modules;
  std::vector<run::OutputForm> forms;
  for (size_t i = 0; i < modules_.size(); ++i) {
    modules.push_back({.path = paths_[i],
                       .rowwise = modules_[i]->rowwise(),
                       .former_tuple = modules_[i]->former_tuple(),
                       .packs = modules_[i]->packs(),
                       .not_alone = modules_[i]->why_not_alone(),
                       .no_input = modules_[i]->why_no_site(/*input=*/true),
                       .no_output = modules_[i]->why_no_site(/*input=*/false)});
    forms.push_back(modules_[i]->form());
  }
  for (size_t i = 0; i < modules_.size(); ++i) {
    for (auto& [name, tensor] : modules_[i]->parameters()) {
      network_.parameters[paths_[i].empty() ? name : absl::StrCat(paths_[i], ".", name)] =
          std::move(tensor);
    }
  }
  absl::flat_hash_map<std::string, plan::ParameterSpec> parameters;
  for (const auto& [name, tensor] : network_.parameters) {
    parameters[name] = {plan::FromScalarType(tensor.scalar_type()), tensor.sizes().vec()};
  }
  std::vector<std::string> names;
  if (network_.input) {
    names.push_back(network_.input->name);
    for (const OtherInput& other : network_.input->others) names.push_back(other.name);
  }
  spec_ = std::make_unique<plan::ModelSpec>(
      std::move(modules), std::move(recorded->sites), std::move(parameters),
      static_cast<uint64_t>(network_.cache_elements) * c10::elementSize(network_.dtype),
      std::move(recorded->operations),
      plan::RootInput{.ids = !network_.input,
                      .tokens = !network_.input || network_.input->tokens,
                      .no_generation = network_.no_generation,
                      .one_invoke = recorded->one_invoke,
                      .batches = network_.input ? network_.input->batches : plan::SizeRange(),
                      .lengths = network_.input ? network_.input->lengths : plan::SizeRange(),
                      .names = std::move(names)});
  spec_->set_leaves(std::move(recorded->leaves));
  taps_ = std::make_unique<run::TapTable>(*spec_, std::move(forms), device(), placed());
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
      const int root = pass.present()[0]->run->root();
      if (root != 0) pass.GoOnAt(spec_->FindSite(root, graph::Point::kInput, 0));
      if (modules_[root]->packs()) [[likely]] {
        result = Call(pass, *modules_[root], pass.Input());
      } else {
        modules_[root]->CallAsRoot(pass);
      }
      module_calls_.fetch_add(pass.module_calls(), std::memory_order_relaxed);
    }
    // From here on nothing can break for all.
    for (run::Run* run : taking_part) run->EndPass(pass, result);
    return absl::OkStatus();
  });
}

at::Tensor HostedModel::Forward(const run::InvokeInput& input) const {
  const c10::InferenceMode guard;
  run::Segment segment;
  segment.input = &input;
  segment.tokens = input.tokens();
  run::Pass pass(*taps_, {&segment}, nullptr);
  return Call(pass, *network_.root, pass.Input());
}

absl::StatusOr<at::Tensor> HostedModel::Parameter(const std::string& path) const {
  auto it = network_.parameters.find(path);
  if (it == network_.parameters.end()) {
    return absl::NotFoundError(absl::StrCat("no parameter `", path, "`"));
  }
  return it->second;
}

absl::Status HostedModel::AddAdapter(const std::string& name, const std::string& folder) {
  absl::StatusOr<run::Adapter> adapter = absl::InternalError("not loaded");
  absl::Status status = plan::CatchTorch([&] {
    adapter = LoadAdapter(folder, network_.names, *spec_, modules_);
    if (!adapter.ok()) return adapter.status();
    for (size_t i = 0; i < adapter->changes.size(); ++i) {
      for (at::Tensor* const part : {&adapter->changes[i].a, &adapter->changes[i].b}) {
        if (part->defined()) *part = part->to(modules_[i]->device());
      }
    }
    return adapter.status();
  });
  if (status.ok()) adapters_[name] = *std::move(adapter);
  return status;
}

const run::Adapter* HostedModel::FindAdapter(const std::string& name) const {
  const auto found = adapters_.find(name);
  return found == adapters_.end() ? nullptr : &found->second;
}

std::vector<std::string> HostedModel::adapters() const {
  std::vector<std::string> names;
  for (const auto& [name, adapter] : adapters_) names.push_back(name);
  return names;
}

absl::StatusOr<c10::IValue> HostedModel::CallModule(int module, const at::Tensor& given,
                                                    const run::Segment* segment,
                                                    run::Watcher* watcher,
                                                    const run::Adapter* adapter) const {
  Module& called = *modules_[module];
  run::Segment own;
  std::vector<run::Segment*> segments;
  if (segment != nullptr) {
    own.input = segment->input;
    own.tokens = segment->tokens;
    segments.push_back(&own);
  }
  run::Pass pass(*taps_, std::move(segments), nullptr);
  const at::Tensor input = given.to(called.device());
  if (!called.packs()) return c10::IValue(called.forward(pass, input));
  pass.UseAdapter(adapter);
  const int first = spec_->FindSite(module, graph::Point::kInput, 0);
  const plan::SiteSpec& site = spec_->sites()[first];
  const auto& pattern = std::get<graph::Pattern::Tensor>(site.pattern.value);
  // The module's own trailing dimensions stay; all before them become rows.
  const int64_t own_dims = static_cast<int64_t>(pattern.shape.size()) - spec_->LeadingOf(site);
  const auto leading = input.sizes().slice(0, input.dim() - own_dims);
  // As many as it is called with: the segment may have fewer in its pass by now.
  if (leading.size() > 1) own.tokens = leading[1];
  std::vector<int64_t> packed = {1, c10::multiply_integers(leading)};
  packed.insert(packed.end(), input.sizes().end() - own_dims, input.sizes().end());
  if (watcher != nullptr) pass.LetWatch(watcher, first);
  at::Tensor output = watcher != nullptr ? Call(pass, called, input.reshape(packed))
                                         : called.forward(pass, input.reshape(packed));
  std::vector<int64_t> shape(leading.begin(), leading.end());
  if (pass.pooled()) shape.resize(1);
  const auto shaped = [&](const at::Tensor& rows) {
    std::vector<int64_t> sizes = shape;
    sizes.insert(sizes.end(), rows.sizes().begin() + 2, rows.sizes().end());
    return rows.reshape(sizes);
  };
  std::vector<at::Tensor> further = pass.TakeFurther();
  for (at::Tensor& tensor : further) tensor = shaped(tensor);
  return run::InForm(called.form(), shaped(output), further);
}

}  // namespace weft::models
