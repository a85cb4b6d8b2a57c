#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/graph/error.h"
#include "engine/graph/program.h"
#include "engine/graph/value.h"
#include "weft/blob.h"
#include "weft/error.h"
#include "weft/tensor.h"
#include "weft/value.h"

// Between the public types and engine/graph's. Tensors share their bytes.

namespace weft {
struct GenerateOptions;
}  // namespace weft

namespace weft::internal {

inline graph::DType ToGraph(DType dtype) { return static_cast<graph::DType>(dtype); }
graph::HostTensor ToGraph(const Tensor& tensor);
/// kInvalidArgument for a blob that names nothing.
absl::StatusOr<graph::Constant> ToGraph(const Blob& blob);

absl::StatusOr<Tensor> FromGraph(const graph::HostTensor& tensor);
/// `convert` says what becomes of tensors.
absl::StatusOr<Value> FromGraph(
    const graph::HostValue& value,
    absl::FunctionRef<absl::StatusOr<Value>(const graph::HostTensor&)> convert);
absl::StatusOr<Value> FromGraph(const graph::HostValue& value);
ErrorDetails FromGraph(const graph::Error& error);

graph::GenerateOptions ToGraph(const GenerateOptions& options);

/// `output`, `ids`: a point as programs name it.
std::string PointName(graph::Point point);

}  // namespace weft::internal
