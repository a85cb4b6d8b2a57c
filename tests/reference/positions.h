#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace weft::reference {

/// A value in whose tensors each element says where it lies: in which tensor, and where in that.
/// What is done to it as to the value (views, indices) leads to the same elements.
c10::IValue PositionsIn(const c10::IValue& value);
/// Which of the value's tensors a part of its positions lies in.
size_t TensorOf(const at::Tensor& positions);

/// The elements at these positions.
c10::IValue Gather(const c10::IValue& value, const c10::IValue& positions);
/// The value with those replaced.
c10::IValue Scatter(const c10::IValue& value, const at::Tensor& positions,
                    const at::Tensor& elements);

/// The tensors of a value, in order.
std::vector<at::Tensor> TensorsOf(const c10::IValue& value);

/// Of something that goes backwards through `point`: how it changes the gradient there.
struct GradientChange {
  at::Tensor point;
  std::function<at::Tensor(const at::Tensor& gradient)> change;
};

/// The gradient of `loss` (from `start`, or of one number) at `point`, where other points change
/// what goes on from them. Undefined where the loss does not depend on it.
at::Tensor GradientAt(const at::Tensor& loss, const at::Tensor& start, const at::Tensor& point,
                      const std::vector<GradientChange>& changes);

/// Whether autograd would come from `made` to `from`.
bool IsMadeOf(const at::Tensor& made, const at::Tensor& from);

}  // namespace weft::reference
