#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "weft/client.h"

// What a run gave, for people, scripts and files.

namespace weft::cli {

/// A line for each tensor or scalar of `value`, items of structures as `name.0`, `name.key`:
/// `hidden  float32[1, 9, 48]  [0.12, -1.5, ...]`.
std::string Describe(const std::string& name, const Value& value);

/// Every value is an object with a `type`. A tensor's `data` is its elements in row-major order,
/// left out if not `with_data`; numbers that JSON lacks are the strings NaN, Infinity, -Infinity,
/// complex ones are [real, imaginary].
nlohmann::json ToJson(const Value& value, bool with_data);
nlohmann::json ToJson(const absl::Status& status);
nlohmann::json ToJson(const ErrorDetails& error);
nlohmann::json ToJson(const RunCost& cost);
nlohmann::json ToJson(const RunResult& result, bool with_data);
nlohmann::json ToJson(const ValidationReport& report);

/// The dtype of safetensors' name for it; kInvalidArgument for those that no tensor here has.
absl::StatusOr<DType> DTypeOf(const std::string& safetensors_name);

/// kInvalidArgument says why WriteResults() could not write to `path`, as far as can be seen
/// before.
absl::Status CheckWritable(const std::string& path);

/// Write the tensors of all saves to a safetensors file, items of structures as `name.0`,
/// `name.key`; everything else goes into its metadata as JSON.
absl::Status WriteResults(const std::string& path, const std::string& model,
                          const RunResult& result);

}  // namespace weft::cli
