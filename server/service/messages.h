#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/graph/value.h"
#include "weft/v1/weft.pb.h"

namespace weft::server {

/// Lists, tuples and dicts nest at most this deep in a result: more could not be parsed by clients.
inline constexpr int kMaxValueDepth = 24;

/// A value without its tensors' bytes. Its tensors are appended to `tensors`, numbered from
/// `first_tensor` in that order. kResourceExhausted if it nests too deep.
absl::Status EncodeValue(const graph::HostValue& value, uint32_t first_tensor, v1::Value* message,
                         std::vector<graph::HostTensor>* tensors);

/// Everything of a result but its value.
void EncodeResultPlace(const Result& result, v1::Result* message);
void EncodeTokens(const NewTokens& tokens, v1::NewTokens* message);
/// Make the tensors of an encoded value blobs with these hashes, which are in their order.
void SetBlobs(const std::vector<std::string>& hashes, v1::Value* message);

/// The shape of a saved value: a pattern whose dimensions are constants.
absl::Status EncodeShape(const graph::Pattern& pattern, v1::Value* message);

void EncodeCost(const Cost& cost, v1::Cost* message);
void EncodeSummary(const ModelSummary& summary, v1::ModelSummary* message);
void EncodeModel(const ModelInfo& info, uint64_t passes, v1::Model* message);
void EncodeOperators(const std::vector<OperatorInfo>& operators,
                     v1::ListOperatorsResponse* message);
absl::Status EncodeValidation(const Validation& validation, v1::ValidateResponse* message);
void EncodeLimits(const Limits& limits, uint64_t request_bytes, v1::Limits* message);

}  // namespace weft::server
