#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/graph/program.h"

namespace weft::reference {

/// An argument of an operator with its value filled in.
struct GivenArgument {
  std::string name;  // empty: by position
  c10::IValue value;
};

/// What a program's arguments are, given the values of its names.
std::vector<GivenArgument> FillArguments(const std::vector<graph::Argument>& arguments,
                                         const std::function<c10::IValue(graph::NodeId)>& value);

/// Call an operator that is named with its overload, `aten::mul.Tensor`, through the dispatcher. An
/// in-place one works in place. Throws what torch throws, and std::invalid_argument where the
/// arguments do not fit.
c10::IValue CallOperator(const std::string& qualified, const std::vector<GivenArgument>& arguments);

/// What the result is to the first argument: views of it (always), itself (in place), or neither.
bool IsView(const std::string& qualified);
bool IsInPlace(const std::string& qualified);
bool IsRandom(const std::string& qualified);

c10::ScalarType ScalarTypeOf(graph::DType dtype);
at::Tensor ToTensor(const graph::HostTensor& host);

/// Apply `change` to each tensor of a value.
c10::IValue ForTensors(const c10::IValue& value,
                       const std::function<at::Tensor(const at::Tensor&)>& change);

}  // namespace weft::reference
