#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "engine/kernels/instructions.h"

namespace weft::kernels {

/// How a tensor's numbers are stored; nothing where no kernel reads them.
std::optional<Stored> StoredAs(const at::Tensor& tensor);

/// Whether a gradient is recorded on this thread, or operators are met one by one: then there have
/// to be operators.
bool OperatorsAreWanted();

/// In a CPU's memory, with strides.
bool IsPlain(const at::Tensor& tensor);

}  // namespace weft::kernels
