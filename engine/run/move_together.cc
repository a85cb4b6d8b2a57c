#include "engine/run/move_together.h"

#include <ATen/ATen.h>

#include <optional>
#include <utility>
#include <vector>

namespace weft::run {
namespace {

/// The tensors of one argument, in order; those of an index may be left out.
std::vector<std::optional<at::Tensor>> TensorsOf(const c10::IValue& value) {
  if (value.isTensor()) return {value.toTensor()};
  std::vector<std::optional<at::Tensor>> tensors;
  if (value.isTensorList()) {
    for (at::Tensor& tensor : value.toTensorVector()) tensors.emplace_back(std::move(tensor));
  } else if (value.isOptionalTensorList()) {
    for (auto& tensor : value.toOptionalTensorVector()) tensors.push_back(std::move(tensor));
  }
  return tensors;
}

bool IsAt(const std::optional<at::Tensor>& tensor, at::Device device) {
  return !tensor || !tensor->defined() || tensor->device() == device;
}

}  // namespace

void MoveTogether(c10::Stack& stack) {
  std::optional<at::Device> device;
  bool apart = false;
  for (const c10::IValue& value : stack) {
    for (const std::optional<at::Tensor>& tensor : TensorsOf(value)) {
      if (!tensor || !tensor->defined()) continue;
      apart = apart || (device && tensor->device() != *device);
      if (!device || device->is_cpu()) device = tensor->device();
    }
  }
  if (!apart) return;
  for (c10::IValue& value : stack) {
    std::vector<std::optional<at::Tensor>> tensors = TensorsOf(value);
    bool there = true;
    for (std::optional<at::Tensor>& tensor : tensors) {
      if (IsAt(tensor, *device)) continue;
      tensor = tensor->to(*device);
      there = false;
    }
    if (there) continue;
    if (value.isTensor()) {
      value = *tensors[0];
    } else if (value.isTensorList()) {
      // Not into the list that is there: the plan has it.
      c10::List<at::Tensor> list;
      for (const std::optional<at::Tensor>& tensor : tensors) list.push_back(*tensor);
      value = std::move(list);
    } else {
      c10::List<std::optional<at::Tensor>> list;
      for (std::optional<at::Tensor>& tensor : tensors) list.push_back(std::move(tensor));
      value = std::move(list);
    }
  }
}

}  // namespace weft::run
