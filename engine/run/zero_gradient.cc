#include "engine/run/zero_gradient.h"

#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/csrc/autograd/functions/utils.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "engine/plan/planner.h"

namespace weft::run {
namespace {

using torch::autograd::variable_list;

struct StopGradient : torch::autograd::Node {
  StopGradient(torch::autograd::edge_list next, std::function<bool()> needed)
      : Node(std::move(next)), needed(std::move(needed)) {}
  variable_list apply(variable_list&& gradients) override {
    if (!needed()) return variable_list(num_outputs());
    return std::move(gradients);
  }
  const std::function<bool()> needed;
};

/// Autograd visits what lies behind a stopped gradient, too, with none: most nodes give none on
/// then, and an Error raises whatever comes.
struct RefuseGradient : torch::autograd::Node {
  RefuseGradient(std::shared_ptr<Node> refusal, std::function<bool()> depends)
      : Node(torch::autograd::edge_list(refusal->next_edges())),
        refusal(std::move(refusal)),
        depends(std::move(depends)) {}
  variable_list apply(variable_list&& gradients) override {
    if (!gradients[0].defined() || !depends()) return variable_list(num_outputs());
    return (*refusal)(std::move(gradients));
  }
  const std::shared_ptr<Node> refusal;
  const std::function<bool()> depends;
};

struct ZerosForNone : torch::autograd::FunctionPreHook {
  explicit ZerosForNone(const at::Tensor& tensor)
      : output(tensor.output_nr()), options(tensor.options()), sizes(tensor.sizes().vec()) {}
  variable_list operator()(const variable_list& gradients) override {
    variable_list given = gradients;
    if (!given[output].defined()) given[output] = at::zeros(sizes, options);
    return given;
  }
  const size_t output;
  const at::TensorOptions options;
  const std::vector<int64_t> sizes;
};

at::Tensor MadeBy(std::shared_ptr<torch::autograd::Node> node, const at::Tensor& tensor) {
  at::Tensor same = tensor.detach();
  torch::autograd::set_history(same, std::move(node));
  return same;
}

}  // namespace

c10::IValue StopGradientUnless(const c10::IValue& value, std::function<bool()> needed) {
  return plan::MapTensors(value, [&needed](const at::Tensor& tensor) {
    if (!tensor.requires_grad()) return tensor;
    auto edges = torch::autograd::collect_next_edges(tensor);
    return MadeBy(std::make_shared<StopGradient>(std::move(edges), needed), tensor);
  });
}

ZerosForStopped::ZerosForStopped(const at::Tensor& tensor) : maker_(tensor.grad_fn()) {
  auto hook = std::make_unique<ZerosForNone>(tensor);
  hook_ = hook.get();
  // First, as the tensor's own hooks are to see the zeros, and stay from one way back to the next.
  auto& hooks = maker_->tensor_pre_hooks();
  hooks.insert(hooks.begin(), std::move(hook));
}

ZerosForStopped::~ZerosForStopped() {
  auto& hooks = maker_->tensor_pre_hooks();
  hooks.erase(std::remove_if(hooks.begin(), hooks.end(),
                             [this](const auto& hook) { return hook.get() == hook_; }),
              hooks.end());
}

c10::IValue RefuseGradientOnly(const c10::IValue& results, std::function<bool()> depends) {
  return plan::MapTensors(results, [&depends](const at::Tensor& tensor) {
    if (!tensor.requires_grad()) return tensor;
    const std::shared_ptr<torch::autograd::Node> maker = tensor.grad_fn();
    if (dynamic_cast<const torch::autograd::Error*>(maker.get()) == nullptr) return tensor;
    return MadeBy(std::make_shared<RefuseGradient>(maker, depends), tensor);
  });
}

}  // namespace weft::run
