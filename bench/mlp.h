#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/models/hosted_model.h"

namespace weft::bench {

inline constexpr int kMlpLayers = 12;
inline constexpr int64_t kMlpWidth = 64;
inline constexpr int64_t kMlpVocabulary = 97;

/// Host an MLP of random weights: `embed`, then `layers.0` to `layers.11`, each a linear layer of
/// `kMlpWidth` by `kMlpWidth` with a relu after it. So small that its pass is all dispatch, which
/// makes a program's overhead as visible as it can be.
absl::StatusOr<std::unique_ptr<models::HostedModel>> HostMlp();

}  // namespace weft::bench
