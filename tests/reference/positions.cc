#include "tests/reference/positions.h"

#include <ATen/MemoryOverlap.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "tests/reference/call.h"
#include "tests/reference/interpreter.h"

namespace weft::reference {
namespace {

constexpr int64_t kTensor = int64_t{1} << 32;

}  // namespace

std::vector<at::Tensor> TensorsOf(const c10::IValue& value) {
  std::vector<at::Tensor> tensors;
  ForTensors(value, [&](const at::Tensor& tensor) {
    tensors.push_back(tensor);
    return tensor;
  });
  return tensors;
}

c10::IValue PositionsIn(const c10::IValue& value) {
  int64_t first = 0;
  return ForTensors(value, [&](const at::Tensor& tensor) {
    // Strided alike, as a view may depend on that; but each element has one of its own.
    const bool overlaps = at::has_internal_overlap(tensor) == at::MemOverlap::Yes;
    at::Tensor positions = overlaps ? at::empty(tensor.sizes(), at::kLong)
                                    : at::empty_strided(tensor.sizes(), tensor.strides(),
                                                        at::TensorOptions(at::kLong));
    positions.copy_(at::arange(first, first + tensor.numel(), at::kLong).view(tensor.sizes()));
    first += kTensor;
    return positions;
  });
}

size_t TensorOf(const at::Tensor& positions) {
  if (positions.numel() == 0) throw Unsupported("a part without elements, where gradients are");
  return static_cast<size_t>(positions.flatten()[0].item<int64_t>() / kTensor);
}

c10::IValue Gather(const c10::IValue& value, const c10::IValue& positions) {
  const std::vector<at::Tensor> tensors = TensorsOf(value);
  return ForTensors(positions, [&](const at::Tensor& at) {
    const size_t which = tensors.size() == 1 ? 0 : TensorOf(at);
    return tensors[which].flatten().take(at.flatten().remainder(kTensor)).view(at.sizes());
  });
}

c10::IValue Scatter(const c10::IValue& value, const at::Tensor& positions,
                    const at::Tensor& elements) {
  const bool none = positions.numel() == 0;
  if (none && TensorsOf(value).size() > 1) {
    return ForTensors(value, [](const at::Tensor& tensor) { return tensor.view_as(tensor); });
  }
  // Of one tensor it is made of the elements even if there are none.
  size_t left = none ? 0 : TensorOf(positions);
  return ForTensors(value, [&](const at::Tensor& tensor) {
    if (left-- != 0) return tensor;
    const at::Tensor flat = elements.to(tensor.scalar_type()).expand(positions.sizes()).flatten();
    c10::List<std::optional<at::Tensor>> indices;
    indices.push_back(positions.flatten().remainder(kTensor));
    return at::index_put(tensor.flatten(), indices, flat).view(tensor.sizes());
  });
}

at::Tensor GradientAt(const at::Tensor& loss, const at::Tensor& start, const at::Tensor& point,
                      const std::vector<GradientChange>& changes) {
  std::vector<std::pair<at::Tensor, unsigned>> hooks;
  for (const GradientChange& change : changes) {
    hooks.emplace_back(change.point, change.point.register_hook([&](const at::Tensor& gradient) {
      return gradient.defined() ? change.change(gradient) : gradient;
    }));
  }
  std::vector<at::Tensor> starts;
  if (start.defined()) starts.push_back(start);
  at::Tensor gradient;
  std::exception_ptr failed;
  try {
    gradient = torch::autograd::grad({loss}, {point}, starts, /*retain_graph=*/true,
                                     /*create_graph=*/false, /*allow_unused=*/true)[0];
  } catch (...) {
    failed = std::current_exception();
  }
  for (auto& [tensor, hook] : hooks) tensor.remove_hook(hook);
  if (failed != nullptr) std::rethrow_exception(failed);
  return gradient;
}

bool IsMadeOf(const at::Tensor& made, const at::Tensor& from) {
  if (!made.requires_grad() || !from.requires_grad()) return false;
  const auto wanted = torch::autograd::impl::gradient_edge(from);
  std::vector<torch::autograd::Node*> open = {
      torch::autograd::impl::gradient_edge(made).function.get()};
  std::set<torch::autograd::Node*> seen(open.begin(), open.end());
  while (!open.empty()) {
    torch::autograd::Node* const node = open.back();
    open.pop_back();
    for (const torch::autograd::Edge& edge : node->next_edges()) {
      if (edge.function == nullptr) continue;
      if (edge.function == wanted.function && edge.input_nr == wanted.input_nr) return true;
      if (seen.insert(edge.function.get()).second) open.push_back(edge.function.get());
    }
  }
  return false;
}

}  // namespace weft::reference
