#pragma once

#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/models/hosted_model.h"

namespace weft {

/// What clients are told of a hosted model. `config_json` is its folder's, or empty.
std::shared_ptr<ModelInfo> DescribeModel(const std::string& name, const models::HostedModel& model,
                                         const std::string& config_json, bool has_tokenizer);

}  // namespace weft
