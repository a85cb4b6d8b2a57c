#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/run/op_tap.h"
#include "engine/run/pass.h"

namespace weft::models {

/// The sizes of a linear module, `y = x W^T`.
struct LinearShape {
  int64_t in = 0, out = 0;
};

/// A module of a hosted network, named as in transformers' tree. It computes one tensor from one
/// tensor of packed rows, `[1, rows, ...]`; what else transformers returns beside it (such as the
/// `None` in attention's tuple) is told by `form`.
///
/// Nothing in a forward may write into a tensor that was offered at a site (its input, its output,
/// a child's input or output), and children are called through Call alone. A block that adds its
/// input to its output gets the tapped input: Call taps before it calls forward.
class Module {
 public:
  virtual ~Module() = default;

  virtual at::Tensor forward(run::Pass& pass, at::Tensor x) = 0;
  /// The class's name in transformers or torch: `GPT2Block`.
  virtual std::string type() const = 0;
  /// As torch's extra_repr: `in_features=32, out_features=96`.
  virtual std::string detail() const { return ""; }
  virtual run::OutputForm form() const { return {}; }
  /// Every row by itself: can be called out of band on any leading dimensions.
  virtual bool rowwise() const { return false; }
  /// It returned a tuple, whose first item is its tensor, in older versions of transformers.
  virtual bool former_tuple() const { return false; }
  /// Of a module whose input is integers: they lie in [0, input_range). 0 for others.
  virtual int64_t input_range() const { return 0; }

  /// Of a linear module, whose output adapters may change (run::Adapt).
  virtual std::optional<LinearShape> linear_shape() const { return std::nullopt; }

  /// Weights that programs may read, beside those of Network::parameters.
  virtual std::vector<std::pair<std::string, at::Tensor>> parameters() const { return {}; }

  const std::vector<std::pair<std::string, Module*>>& children() const { return children_; }
  int input_tap() const { return tap_; }
  int output_tap() const { return tap_ + 1; }
  void SetTap(int tap) { tap_ = tap; }

 protected:
  /// Add a child; the order is the tree's.
  template <typename T>
  T* Own(std::string name, std::unique_ptr<T> child) {
    T* raw = child.get();
    children_.emplace_back(std::move(name), raw);
    owned_.push_back(std::move(child));
    return raw;
  }

 private:
  int tap_ = 0;
  std::vector<std::pair<std::string, Module*>> children_;
  std::vector<std::unique_ptr<Module>> owned_;
};

/// Run a child's forward, with whoever listens inside it.
inline at::Tensor Forward(run::Pass& pass, Module& child, at::Tensor x) {
  pass.CountCall();
  if (pass.inside() != nullptr) [[unlikely]] {
    const run::OpTap::Scope scope(*pass.inside(), child.input_tap() / 2);
    return child.forward(pass, std::move(x));
  }
  return child.forward(pass, std::move(x));
}

/// Call a child: where its input and output can be read, replaced, or the call be skipped. Costs a
/// bit test at each side where nobody listens.
inline at::Tensor Call(run::Pass& pass, Module& child, at::Tensor x) {
  pass.Tap(child.input_tap(), x);
  if (pass.HasSkips()) [[unlikely]] {
    x = pass.CallPartly(child.output_tap(), std::move(x),
                        [&](at::Tensor rest) { return Forward(pass, child, std::move(rest)); });
  } else {
    x = Forward(pass, child, std::move(x));
  }
  if (!pass.done()) [[likely]] {
    pass.Tap(child.output_tap(), x);
  }
  return x;
}

}  // namespace weft::models
