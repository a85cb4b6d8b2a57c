#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace weft::testing {

/// Return the tensors of a safetensors file by name. If it cannot be read the test fails and the
/// map is empty, so look values up with at().
std::map<std::string, at::Tensor> LoadGolden(const std::string& path);

/// Return whether `actual` has the shape and dtype of `expected`, and differs from it nowhere by
/// more than `tolerance_of_scale` times the largest absolute finite value of `expected`.
///
/// Integers and booleans must be equal. Infinities must be equal, and a NaN is never close.
::testing::AssertionResult CloseOfScale(const at::Tensor& actual, const at::Tensor& expected,
                                        double tolerance_of_scale = 1e-5);

/// Expect CloseOfScale; `what` names the values in the failure.
void ExpectClose(const at::Tensor& actual, const at::Tensor& expected,
                 double tolerance_of_scale = 1e-5, const std::string& what = "");

/// Return the rows `[real tokens, ...]` of `[batch, tokens, ...]` where `mask`, `[batch, tokens]`,
/// is not 0. What a model computes at pads has no meaning.
at::Tensor AtRealTokens(const at::Tensor& tensor, const at::Tensor& mask);

}  // namespace weft::testing
