#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <functional>
#include <optional>
#include <vector>

#include "engine/graph/program.h"

namespace weft::reference {

/// Where an index leads: the view that its integers and slices cut, and tensors that then choose
/// among it (none where there are none).
struct Indexed {
  c10::IValue view;
  c10::List<std::optional<at::Tensor>> indices;
};

/// `%x[...]`: items of structures first, then as torch indexes a tensor. `value` gives the tensors
/// that the index names.
Indexed IndexView(const c10::IValue& whole, const std::vector<graph::IndexTerm>& terms,
                  const std::function<at::Tensor(graph::NodeId)>& value);

/// `%x[...] = value`, in place.
void AssignTo(const Indexed& place, const at::Tensor& value);

}  // namespace weft::reference
