#include "engine/run/zero_gradient.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <memory>
#include <utility>

#include "engine/plan/planner.h"

namespace weft::run {
namespace {

using torch::autograd::variable_list;

struct StopZeros : torch::autograd::Node {
  using Node::Node;
  variable_list apply(variable_list&& gradients) override {
    at::Tensor& gradient = gradients[0];
    if (gradient.defined() && !gradient.ne(0).any().item<bool>()) gradient = at::Tensor();
    return std::move(gradients);
  }
};

}  // namespace

c10::IValue StopZeroGradient(const c10::IValue& value) {
  return plan::MapTensors(value, [](const at::Tensor& tensor) {
    if (!tensor.requires_grad()) return tensor;
    at::Tensor same = tensor.detach();
    torch::autograd::set_history(
        same, std::make_shared<StopZeros>(torch::autograd::collect_next_edges(tensor)));
    return same;
  });
}

}  // namespace weft::run
