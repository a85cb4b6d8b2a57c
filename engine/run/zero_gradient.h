#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>

#include <functional>
#include <memory>

namespace weft::run {

/// The same values; no gradient goes further back where `needed` says that none comes from what was
/// made of them.
///
/// Rows of several invokes lie in one tensor, so zeros come to all of them, whichever the loss is
/// of. Where one invoke's rows are made of another's, they would come back to that one: no number
/// of its gradient, unless a derivative on the way is not finite.
c10::IValue StopGradientUnless(const c10::IValue& value, std::function<bool()> needed);

/// While this lives, zeros come to a tensor to which a gradient would come that was stopped: what
/// is written in their place goes on.
class ZerosForStopped {
 public:
  explicit ZerosForStopped(const at::Tensor& tensor);
  ~ZerosForStopped();
  ZerosForStopped(const ZerosForStopped&) = delete;
  ZerosForStopped& operator=(const ZerosForStopped&) = delete;

 private:
  const std::shared_ptr<torch::autograd::Node> maker_;
  const torch::autograd::FunctionPreHook* hook_;
};

/// The results of an operator; if it has no derivative, that is an error once a gradient comes to
/// them and `depends` says that what is asked for lies behind it. Autograd would have it already
/// where a gradient was stopped on the way, or goes on to rows of another invoke.
c10::IValue RefuseGradientOnly(const c10::IValue& results, std::function<bool()> depends);

}  // namespace weft::run
