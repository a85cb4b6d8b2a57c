#include "engine/describe_model.h"

#include <ATen/ATen.h>
#include <openssl/evp.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/plan/operators.h"
#include "engine/plan/planner.h"
#include "engine/weights/hosting_dtype.h"

namespace weft {
namespace {

/// What identifies a model's numbers: SHA-256 over names, dtypes, shapes and bytes of its
/// parameters, and those of its adapters.
std::string FingerprintOf(const models::HostedModel& model, const std::string& config) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  EVP_DigestUpdate(context.get(), config.data(), config.size());
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    const std::string header =
        absl::StrCat(name, c10::toString(tensor.scalar_type()), c10::str(tensor.sizes()), "\n");
    EVP_DigestUpdate(context.get(), header.data(), header.size());
    // As it lies in memory: a transposed view and its storage hold the same bytes.
    const auto bytes = static_cast<size_t>(tensor.numel() * tensor.element_size());
    EVP_DigestUpdate(context.get(), tensor.cpu().const_data_ptr(), bytes);
  };
  if (model.network().dispatched) {
    for (const auto& [name, tensor] : model.network().parameters) add(name, tensor);
  }
  for (const std::string& name : model.adapters()) {
    const std::vector<run::LowRank>& changes = model.FindAdapter(name)->changes;
    for (size_t module = 0; module < changes.size(); ++module) {
      if (!changes[module].a.defined()) continue;
      const std::string at = absl::StrCat(name, " ", module, " ", changes[module].scale, " ");
      add(at + "a", changes[module].a);
      add(at + "b", changes[module].b);
    }
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(context.get(), digest, &size);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), std::min(size, 16U)));
}

}  // namespace

std::shared_ptr<ModelInfo> DescribeModel(const std::string& name, const models::HostedModel& model,
                                         const std::string& config_json, bool has_tokenizer) {
  auto info = std::make_shared<ModelInfo>();
  info->config_json = config_json;
  const models::Network& hosted = model.network();
  for (size_t i = 0; i < model.modules().size(); ++i) {
    const models::Module& module = *model.modules()[i];
    info->modules.push_back({model.spec().modules()[i].path, module.type(), module.detail()});
  }
  const plan::ModelSpec& spec = model.spec();
  for (const plan::SiteSpec& site : spec.sites()) {
    // Those of the next token belong to invokes.
    if (graph::OfNextToken(site.site.point)) continue;
    if (site.site.op.empty()) info->sites.push_back({site.site, site.pattern, site.writable});
  }
  for (const plan::OperationSpec& operation : spec.operations()) {
    const std::pair<graph::Point, int> ends[] = {{graph::Point::kInputs, operation.inputs},
                                                 {graph::Point::kOutput, operation.output}};
    for (const auto& [point, time] : ends) {
      const graph::Site site{spec.modules()[operation.module].path, point, operation.visit,
                             operation.name};
      const plan::SiteSpec* found = time < 0 ? nullptr : &spec.sites()[time];
      info->operations.push_back({site, found == nullptr ? graph::Pattern() : found->pattern,
                                  found != nullptr && found->writable, operation.source});
    }
  }
  std::vector<const void*> counted;
  for (const auto& [path, tensor] : hosted.parameters) {
    info->parameters.push_back(
        {path, plan::FromScalarType(tensor.scalar_type()), tensor.sizes().vec()});
    // Tied weights count once.
    if (std::find(counted.begin(), counted.end(), tensor.const_data_ptr()) == counted.end()) {
      counted.push_back(tensor.const_data_ptr());
      info->summary.parameters += static_cast<uint64_t>(tensor.numel());
      info->summary.parameter_bytes += tensor.nbytes();
    }
  }
  info->summary.name = name;
  info->summary.family = hosted.family;
  info->summary.dtype = weights::HostingDtypeName(hosted.dtype);
  info->summary.device = hosted.dispatched ? hosted.devices.Shown() : "meta";
  info->summary.fingerprint = FingerprintOf(model, config_json);
  info->summary.has_tokenizer = has_tokenizer;
  info->summary.max_tokens = static_cast<uint64_t>(hosted.max_tokens);
  info->summary.adapters = model.adapters();
  info->summary.vocabulary = static_cast<uint64_t>(hosted.vocabulary);
  return info;
}

}  // namespace weft
