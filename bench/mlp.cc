#include "bench/mlp.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/models/blocks.h"
#include "engine/plan/operators.h"

namespace weft::bench {
namespace {

/// Lets nobody leave early, unlike the families: a program that reads nothing is then measured over
/// a whole pass, and not over none.
class MlpImpl : public models::Module {
 public:
  MlpImpl() {
    embed_ = Own("embed",
                 std::make_unique<models::EmbeddingImpl>(at::randn({kMlpVocabulary, kMlpWidth})));
    auto* layers = Own("layers", std::make_unique<models::ModuleListImpl>());
    const double scale = std::sqrt(2.0 / static_cast<double>(kMlpWidth));
    for (int layer = 0; layer < kMlpLayers; ++layer) {
      layers_.push_back(layers->Append(std::make_unique<models::LinearImpl>(
          at::randn({kMlpWidth, kMlpWidth}).mul_(scale), at::zeros({kMlpWidth}),
          /*conv1d=*/false)));
    }
  }

  at::Tensor forward(run::Pass& pass, at::Tensor ids) override {
    at::Tensor x = models::Call(pass, *embed_, std::move(ids));
    for (models::LinearImpl* layer : layers_) {
      x = at::relu(models::Call(pass, *layer, std::move(x)));
    }
    return x;
  }
  std::string type() const override { return "Mlp"; }
  int64_t input_range() const override { return kMlpVocabulary; }

 private:
  models::EmbeddingImpl* embed_ = nullptr;
  std::vector<models::LinearImpl*> layers_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<models::HostedModel>> HostMlp() {
  models::Network network;
  absl::Status status = plan::CatchTorch([&] {
    network.root = std::make_unique<MlpImpl>();
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  network.family = "mlp";
  network.vocabulary = kMlpVocabulary;
  network.max_tokens = 1024;
  return models::HostedModel::Host(std::move(network), /*pad_left=*/true);
}

}  // namespace weft::bench
